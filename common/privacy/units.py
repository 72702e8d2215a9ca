"""A hospital's training patients, and the units of one private step: whose rows are in a gradient together.

What a unit shows (studies, sentences, masks, views, public pairs) is drawn from a seed of its own, made of
a secret of the step and of the unit's number alone. So another patient's coming or going changes nothing in
it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from common.data.batch import Batch
from common.data.batches import Batches
from common.errors import InputRefusedError, PolicyError
from common.privacy.entropy import Bits, secret_of
from common.privacy.mechanism import Terms
from common.privacy.sampling import Members, draw_groups, sample_patients
from common.seeds import generator
from common.spec.privacy import PatientPrivacySpec
from common.store import Store

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Population:
    """Patients 0..N - 1 of one site; N is a secret of the site."""

    batches: Batches
    studies: tuple[tuple[Rows, ...], ...]
    """Patient -> studies -> training rows."""

    def __len__(self) -> int:
        return len(self.studies)

    def units(self, terms: Terms, bits: Bits) -> Iterator[Batch]:
        """The batches of one step's units: sampled patients under R, their groups under G; maybe none.

        All of them hold the same public pairs, drawn whoever is sampled.
        """
        secret = secret_of(bits)
        public = self.batches.draw_public(generator(secret, "public"))
        for members, chance in self._members(terms, bits, secret):
            yield replace(self.unit(members, terms, chance), public=public)

    def unit(self, members: Members, terms: Terms, chance: torch.Generator) -> Batch:
        """What the patients `members` show, each at most `studies_per_patient` studies, each in all views."""
        rows = [row for patient in members.tolist() for row in self._shown(patient, terms, chance)]
        return self.batches.unit(np.repeat(np.array(rows, dtype=np.int64), terms.views_per_study), chance)

    def _members(self, terms: Terms, bits: Bits, secret: int) -> Iterator[tuple[Members, torch.Generator]]:
        sampled = sample_patients(bits, len(self), terms.rate_numerator)
        if terms.mechanism == "R":
            for patient in sampled.tolist():
                yield np.array([patient]), generator(secret, "patient", patient)
            return
        for number, members in enumerate(draw_groups(bits, sampled, terms.groups)):
            if len(members):
                yield members, generator(secret, "group", number)

    def _shown(self, patient: int, terms: Terms, chance: torch.Generator) -> list[int]:
        studies = self.studies[patient]
        order: list[int] = torch.randperm(len(studies), generator=chance).tolist()
        return [int(row) for place in order[: terms.studies_per_patient] for row in studies[place]]


def population_of(store: Store, batches: Batches) -> Population:
    """The training rows of `store`, by patient and study.

    Raises:
        InputRefusedError: a row has no patient, so nobody can say whose it is.
    """
    rows = store.rows("train")
    patients, studies = store.column("patient")[rows], store.column("study")[rows]
    if not all(patients):
        raise InputRefusedError(
            f"store {store.name}: a training row has no patient identifier, and privacy is promised to "
            "patients; ingest with patient identifiers, or leave these studies out",
            outward="training rows without a patient identifier",
        )
    held: dict[str, dict[str, list[int]]] = {}
    for row, (patient, study) in enumerate(zip(patients, studies, strict=True)):
        held.setdefault(patient, {}).setdefault(study, []).append(row)
    return Population(
        batches, tuple(tuple(np.array(rows) for rows in held[patient].values()) for patient in sorted(held))
    )


def require_patients(population: Population, privacy: PatientPrivacySpec, site: str) -> None:
    """Refuse a store with fewer patients than the site's public size class, or too many for its delta.

    Raises:
        PolicyError: with numbers for this site, without them for others.
    """
    declared = privacy.patients.get(site, 0)
    if len(population) < declared:
        raise PolicyError(
            f"{len(population)} training patients, but privacy.patients declares {declared} for {site}: "
            "ask the operator for a smaller size class; nothing was spent",
            outward="fewer patients than the public size class",
        )
    if privacy.delta * len(population) > 1:
        raise PolicyError(
            f"privacy.delta = {privacy.delta:g} is above 1 / {len(population)} training patients: "
            "ask the operator for a smaller delta; nothing was spent",
            outward="delta above one in the number of patients",
        )
