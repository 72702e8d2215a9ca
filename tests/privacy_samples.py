"""Repeatable bits, a private spec and tiny patients for the tests of privacy."""

import numpy as np
from tiny import SITES, tiny_spec

from common.data.batches import Batches
from common.data.corpus import read_corpus
from common.privacy.entropy import Words
from common.privacy.mechanism import Terms, terms_of
from common.privacy.units import Population, population_of
from common.project import Project
from common.spec.privacy import PatientPrivacySpec
from common.spec.run import Spec
from common.store import Store

LOCAL = {
    "mode": "local",
    "mechanism": "G",
    "epsilon": 30.0,
    "delta": 1e-2,
    "noise_multiplier": 1.0,
    "sampling_rate": 0.5,
    "group_size": 2,
    "patients": dict.fromkeys(SITES, 6),
    "studies_per_patient": 2,
    "views_per_study": 1,
    "hospitals_per_patient": 2,
    "tuned_on": "phantom",
}


FOUR = ("east", "north", "south", "west")
JOINT = LOCAL | {"mode": "joint", "colluding_sites": 1, "patients": dict.fromkeys(FOUR, 6)}


class Seeded:
    """Bits that a test can repeat; production code has no such thing."""

    def __init__(self, seed: int = 0) -> None:
        self._chance = np.random.default_rng(seed)

    def words(self, count: int) -> Words:
        return self._chance.integers(0, 2**64, count, dtype=np.uint64)


def private_spec(**changes: object) -> Spec:
    """The tiny spec in local mode; `changes` are keys of [privacy], or dotted paths with `__`."""
    local = LOCAL | {key: value for key, value in changes.items() if "__" not in key}
    others = {key: value for key, value in changes.items() if "__" in key}
    return tiny_spec(privacy=local, **others)


def joint_spec(**changes: object) -> Spec:
    """The tiny spec in joint mode: four hospitals, of which all must be in a sum; paths with `__`."""
    return tiny_spec(
        **{
            "privacy": dict(JOINT),
            "train__local_steps": 1,
            "federation__rounds": 2,
            "federation__min_sites": 4,
            "secure_aggregation": {"mode": "sa1", "min_sites": 4, "rare_rows": "noise"},
            "data__anchor_pairs": 0,
            "evaluation__retrieval": False,
            "evaluation__zero_shot": [],
            **changes,
        }
    )


def terms(spec: Spec) -> Terms:
    assert isinstance(spec.privacy, PatientPrivacySpec)
    return terms_of(spec.privacy, "east")


def open_population(project: Project, store: Store, bank: Store) -> Population:
    private = read_corpus(store, "train", project.tokenizer, preparation=project.spec.preparation)
    anchors = read_corpus(bank, None, project.tokenizer, preparation=project.spec.preparation)
    return population_of(store, Batches(project.spec, project.tokenizer, private, anchors, store.name))
