"""How much can one patient change the sum? Same coins, same groups, same masks, with the patient and without.

The idea of Cebere et al. 2026, arXiv:2602.17454. Deterministic, and blind to what no tried patient reaches:
the bound 2C of mechanism G is only approached by a group that turns round, which the last check builds.
"""

import tempfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from common.data.batches import Batches
from common.data.corpus import read_corpus
from common.model.vlp import VLPModel
from common.objectives.registry import REGULARISERS
from common.privacy.entropy import Words
from common.privacy.lattice import GRID
from common.privacy.mechanism import SENSITIVITY, MechanismName, Terms
from common.privacy.step import Covered, sum_units
from common.privacy.training import unit_losses
from common.privacy.units import Population, population_of
from common.project import Project, create_project
from common.spec.objectives import ObjectivesSpec
from common.spec.run import Spec, parse_spec
from common.store import Store
from simulations.attacks.privacy.finding import Finding
from simulations.attacks.privacy.patients import ADVERSARIES, ORDINARY, SITE, audit_store
from simulations.attacks.privacy.towers import (
    EMBEDDING,
    FEATURES,
    People,
    Pipeline,
    Towers,
    against,
    by_group,
    by_hooks,
    by_losses_in_one_pass,
    by_patient,
    in_batch,
    in_batch_sigmoid,
)

ROOM = 1e-9
"""Integers are exact; this is for the root."""


class Replayed:
    """The same bits again and again: both neighbours see the same coins. For attacks alone."""

    def __init__(self, seed: int) -> None:
        self._seed, self._chance = seed, np.random.default_rng(seed)

    def anew(self) -> "Replayed":
        """From the beginning."""
        return Replayed(self._seed)

    def words(self, count: int) -> Words:
        """(count,) words."""
        return self._chance.integers(0, 2**64, count, dtype=np.uint64)


def attack_towers(*, patients: int, draws: int) -> Iterator[Finding]:
    """Our pipelines on two tiny towers, and pipelines that only look private as controls."""
    chance = torch.Generator().manual_seed(0)
    public = nn.functional.normalize(torch.randn(64, EMBEDDING, generator=chance), dim=-1)
    torch.manual_seed(0)
    plain, bare, batch_norm = Towers(), Towers(nn.Identity), Towers(nn.BatchNorm1d)
    groups = torch.randint(4, (patients,), generator=chance)
    pipelines: list[tuple[str, Pipeline, float, bool]] = [
        ("R, InfoNCE against public pairs", by_patient(plain, against(public)), 1, True),
        ("G, InfoNCE in four groups", by_group(plain, in_batch, groups), 2, True),
        ("G, SigLIP in four groups", by_group(plain, in_batch_sigmoid, groups), 2, True),
        ("per-sample clipping of in-batch InfoNCE", by_hooks(bare, in_batch), 1, False),
        ("per-sample clipping of in-batch SigLIP", by_hooks(bare, in_batch_sigmoid), 1, False),
        (
            "per-patient losses through BatchNorm",
            by_losses_in_one_pass(batch_norm, against(public)),
            1,
            False,
        ),
        ("division by the realised batch", _divided(by_patient(plain, against(public))), 1, False),
    ]
    for name, pipeline, bound, ours in pipelines:
        worst = max(_change(pipeline, people) for people in _people(patients, draws))
        yield _finding(name, worst, bound, ours)


def _people(patients: int, draws: int) -> Iterator[People]:
    """Ordinary patients, the last one hostile: far out, near to everybody, enormous, or another's twin."""
    for draw in range(draws):
        chance = torch.Generator().manual_seed(draw)
        image = torch.randn(patients, FEATURES, generator=chance)
        report = image + 0.3 * torch.randn(patients, FEATURES, generator=chance)
        centre = image[:-1].mean(dim=0), report[:-1].mean(dim=0)
        hostile = [
            (image[-1], report[-1]),
            (50 * image[-1], 50 * report[-1]),
            centre,
            (centre[0], -50 * centre[1]),
            (image[0], report[1]),
            (image[-1] * 1e30, report[-1]),
        ]
        image[-1], report[-1] = hostile[draw % len(hostile)]
        yield image, report


def _change(pipeline: Pipeline, people: People) -> float:
    """Length of the difference that the last patient makes."""
    without = people[0][:-1], people[1][:-1]
    return float((pipeline(people).double() - pipeline(without).double()).norm())


def _divided(pipeline: Pipeline) -> Pipeline:
    """A mean over who came, in units of the sum: the divisor tells who came."""
    most: list[int] = []

    def mean(people: People) -> Tensor:
        most.append(len(people[0]))
        return pipeline(people) / len(people[0]) * max(most)

    return mean


EVERY_OBJECTIVE = tuple(ObjectivesSpec.model_fields)
BY_FINDINGS = "bank_contrastive by findings"
TABLES: dict[str, tuple[str, dict[str, object]]] = {
    **{name: (name, {}) for name in EVERY_OBJECTIVE},
    BY_FINDINGS: ("bank_contrastive", {"partner": "label_cosine", "partner_temperature": 0.1}),
}
"""What is attacked alone -> its table of a spec, and what is written there."""


def attack_model(sets: Sequence[tuple[str, ...]], *, seeds: int) -> Iterator[Finding]:
    """The shipped step on the shipped model with each set of objectives, under R and under G.

    Neighbours are two *stores*: whatever is made of a store before a step is made of each, so that no patient
    gets into another's rows unseen.
    """
    with tempfile.TemporaryDirectory(prefix="fedvlp-audit-") as name:
        folder = Path(name)
        bank = audit_store(folder / "bank", seed=1)
        stores = [audit_store(folder / "without")]
        stores += [audit_store(folder / kind.replace(" ", "-"), hostile=(kind,)) for kind in ADVERSARIES]
        for objectives in sets:
            spec = _spec(objectives)
            project = create_project(
                folder / "-".join(objectives).replace(" ", "-")[:80], spec, sites=[SITE], bank=bank
            )
            model, neighbours = _moved(project), [_opened(project, store, bank) for store in stores]
            title = objectives[0] if len(objectives) == 1 else "all objectives"
            for mechanism in SENSITIVITY:
                terms = _terms(mechanism)
                worst = max(
                    _change_of(model, spec, neighbours, terms, Replayed(seed), None) for seed in range(seeds)
                )
                yield _finding(f"{mechanism}, {title}", worst, terms.sensitivity, ours=True)
            drift = _change_of(model, spec, neighbours, _terms("R"), Replayed(0), ORDINARY)
            yield Finding(
                part="sensitivity",
                name=f"R, {title}: the others",
                kind="check",
                measured=drift,
                bound=0.0,
                words=f"another patient's coming changes what the ordinary ones give by {drift:.3g} C",
            )


def _change_of(
    model: VLPModel,
    spec: Spec,
    neighbours: list[Population],
    terms: Terms,
    bits: Replayed,
    units: int | None,
) -> float:
    """The largest distance between the sum of the first population and that of one of the others.

    With `units`, of so many units that come first: under R, those of the ordinary patients.
    """

    def summed(population: Population) -> Tensor:
        losses = unit_losses(model, population.units(terms, bits.anew()), spec.train)
        return sum_units(Covered(model).parameters, islice(losses, units)).total

    without, *others = map(summed, neighbours)
    return max(float((each - without).double().norm()) / GRID for each in others)


def turn_a_group() -> Finding:
    """A patient who turns a group's gradient round: the whole 2C of mechanism G, and not a bit more."""
    weight = nn.Parameter(torch.zeros(8))
    direction = torch.full((8,), 1e6)
    with_patient = sum_units([weight], [lambda: (weight * direction).sum()]).total
    without = sum_units([weight], [lambda: -(weight * direction).sum()]).total
    change = float((with_patient - without).double().norm()) / GRID
    return _finding("G, a group turned round", change, SENSITIVITY["G"], ours=True)


def _terms(mechanism: MechanismName) -> Terms:
    return Terms(
        mechanism=mechanism,
        rate_numerator=2**32,
        noise_multiplier=1.0,
        groups=3,
        denominator=3,
        studies_per_patient=3,
        views_per_study=1,
    )


def _spec(objectives: tuple[str, ...]) -> Spec:
    """A tiny model of three modalities with `objectives`; regularisers come with something to learn."""
    learned = dict(TABLES[name] for name in objectives)
    if not set(learned) - REGULARISERS:
        learned["global_contrastive"] = {}
    negatives = 4 if "bank_contrastive" in learned else 0
    return parse_spec(
        {
            "name": "audit",
            "model": {
                "image_size": 32,
                "embedding_width": 16,
                "image": {"encoder": "vit", "width": 16, "depth": 1, "heads": 2, "patch_pixels": 8},
                "text": {"width": 16, "depth": 1, "heads": 2, "max_tokens": 24, "vocabulary_size": 512},
                "fusion": {"width": 16, "heads": 2},
                "metadata": {"width": 16, "fields": ["modality", "view"]},
            },
            "objectives": learned,
            "data": {
                "batch_size": 8,
                "anchor_pairs": 4,
                "public_negatives": negatives,
                "images": {"burned_in": "keep"},
            },
            "train": {"local_steps": 1, "precision": "fp32"},
            "federation": {"rounds": 1, "min_sites": 1},
            "privacy": {"mode": "none"},
            "secure_aggregation": {"mode": "off"},
        },
        where="audit",
    )


def _opened(project: Project, store: Store, bank: Store) -> Population:
    """The patients of `store`, as a hospital opens them."""
    preparation, reading = store.manifest.preparation, project.reading
    private = read_corpus(store, "train", project.tokenizer, preparation=preparation, reading=reading)
    public = read_corpus(bank, None, project.tokenizer, preparation=preparation, reading=reading)
    return population_of(store, Batches(project.spec, project.tokenizer, private, public, SITE))


def _moved(project: Project) -> VLPModel:
    """The model, moved off its start so that no gradient is zero."""
    model = project.fresh_model()
    chance = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=chance))
    return model


def _finding(name: str, measured: float, bound: float, ours: bool) -> Finding:
    kind = "check" if ours else "control"
    words = f"one patient changes the sum by {measured:.3f} C; noise is sized for {bound:g} C"
    return Finding(
        part="sensitivity", name=name, kind=kind, measured=measured, bound=bound * (1 + ROOM), words=words
    )
