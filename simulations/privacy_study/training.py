"""One cohort, one start learned from the public bank, and every arm of a study trained from it.

Private arms take the steps that sites take, `common.privacy.training`, with noise that nobody can repeat:
two runs of a study agree within their intervals, not to the bit.
"""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from common.data.batches import Batches
from common.data.corpus import Corpus, pool, read_corpus, reading_of
from common.errors import InputRefusedError
from common.model.adaptation import adapt
from common.model.vlp import VLPModel, build_model
from common.privacy.calibration import noise_for
from common.privacy.mechanism import Terms, require_sound, terms_of
from common.privacy.training import train_privately
from common.privacy.units import Population, population_of
from common.project import Project
from common.spec.privacy import RATE_DENOMINATOR, LocalPrivacySpec
from common.spec.run import Spec
from common.store import Store
from common.training.trainer import train
from simulations.privacy_study.plan import Arm, StudyPlan

NO_NOISE = 2**-20
"""Noise multiplier that stands for none: a few steps of the lattice."""
STUDIES_PER_PATIENT = 3


@dataclass(frozen=True)
class Cohort:
    """All hospitals' patients and the public bank, read for one project."""

    project: Project
    stores: Mapping[str, Store]
    bank: Store

    def corpus(self, spec: Spec, store: Store, split: str | None) -> Corpus:
        """The rows of one store."""
        return read_corpus(
            store,
            split,  # type: ignore[arg-type]
            self.project.tokenizer,
            preparation=spec.preparation,
            reading=reading_of(spec, self.project.ontology),
        )

    def batches(self, spec: Spec, sites: list[str]) -> Batches:
        """Training rows of `sites` together."""
        private = pool([self.corpus(spec, self.stores[site], "train") for site in sites])
        anchors = self.corpus(spec, self.bank, None)
        return Batches(spec, self.project.tokenizer, private, anchors, "+".join(sites))

    def population(self, spec: Spec, sites: list[str]) -> Population:
        """Patients of `sites` together."""
        batches, studies, start = self.batches(spec, sites), [], 0
        for site in sites:
            for patient in population_of(self.stores[site], batches).studies:
                studies.append(tuple(rows + start for rows in patient))
            start += len(self.stores[site].rows("train"))
        return Population(batches, tuple(studies))


def learn_from_bank(cohort: Cohort, plan: StudyPlan, spec: Spec) -> dict[str, Tensor]:
    """The weights that every arm starts from: ordinary training on public pairs alone."""
    train_spec = spec.train.model_copy(update={"learning_rate": plan.start_learning_rate})
    spec = spec.model_copy(update={"train": train_spec})
    model = build_model(spec, cohort.project.tokenizer.vocabulary_size)
    bank = cohort.corpus(spec, cohort.bank, None)
    batches = Batches(spec, cohort.project.tokenizer, bank, bank, "bank")
    train(model, batches, spec, first_step=0, steps=plan.start_steps, total_steps=plan.start_steps)
    return model.state_dict()


def train_arm(
    cohort: Cohort, plan: StudyPlan, arm: Arm, spec: Spec, start: Mapping[str, Tensor], epsilon: float
) -> VLPModel:
    """The model of one arm at one epsilon.

    Raises:
        ConfigurationError: an objective has no proof under the arm's mechanism, or no noise suffices.
        InputRefusedError: there are fewer patients than a step shall look at.
    """
    model = build_model(spec, cohort.project.tokenizer.vocabulary_size)
    known = {name: tensor for name, tensor in start.items() if name in model.state_dict()}
    model.load_state_dict(known, strict=False)
    adapt(model, spec)
    sites, steps = sorted(cohort.stores), arm.steps or plan.steps
    if arm.mechanism is None:
        batches = cohort.batches(spec, sites)
        train(model, batches, spec, first_step=0, steps=steps, total_steps=steps)
        return model
    everybody = cohort.population(spec, sites)
    rate = plan.looked_at / len(everybody)
    noise = _noise(plan, arm, epsilon=epsilon, steps=steps, patients=len(everybody))
    parts = [sites] if arm.noise == "together" else [[site] for site in sites]
    people = [everybody if part == sites else cohort.population(spec, part) for part in parts]
    terms = [_terms(arm, spec, len(each), rate=rate, noise=noise, delta=plan.delta) for each in people]
    stretch = steps if len(parts) == 1 else plan.local_steps
    for first in range(0, steps, stretch):
        own = [copy.deepcopy(model) for _ in people]
        for one, patients, its_terms in zip(own, people, terms, strict=True):
            train_privately(
                one,
                patients,
                its_terms,
                spec,
                first_step=first,
                steps=min(stretch, steps - first),
                total_steps=steps,
            )
        _take_mean(model, own, [len(each) for each in people])
    return model


def _noise(plan: StudyPlan, arm: Arm, *, epsilon: float, steps: int, patients: int) -> float:
    """The multiplier that gives the mean over the units seen the noise of the mean over all that are sampled.

    Units are patients, or groups; a group as large as a step is one unit however many are sampled.
    """
    rate = arm.sampling_rate or plan.sampling_rate
    sampled = rate * patients
    if plan.looked_at > sampled:
        raise InputRefusedError(
            f"looked_at = {plan.looked_at}, but of {patients} training patients a step samples {sampled:.0f}"
        )
    if math.isinf(epsilon):
        return NO_NOISE
    multiplier = noise_for(
        epsilon=epsilon, delta=plan.delta, rate_numerator=int(rate * RATE_DENOMINATOR), steps=steps
    )
    seen = max(1.0, plan.looked_at / arm.group_size)
    units = max(1.0, sampled * arm.cohort_times / arm.group_size)
    return max(NO_NOISE, multiplier * seen / units)


def _terms(arm: Arm, spec: Spec, patients: int, *, rate: float, noise: float, delta: float) -> Terms:
    assert arm.mechanism is not None
    privacy = LocalPrivacySpec(
        mode="local",
        mechanism=arm.mechanism,
        epsilon=64,
        delta=delta,
        noise_multiplier=noise,
        sampling_rate=rate,
        group_size=arm.group_size,
        patients={"phantom": patients},
        studies_per_patient=STUDIES_PER_PATIENT,
        views_per_study=1,
        hospitals_per_patient=1,
        tuned_on="phantom",
    )
    require_sound(spec.model_copy(update={"privacy": privacy}))
    return terms_of(privacy, "phantom")


@torch.no_grad()
def _take_mean(model: VLPModel, own: list[VLPModel], patients: list[int]) -> None:
    """The mean of the hospitals' models by their public numbers of patients."""
    shares = np.array(patients) / sum(patients)
    theirs = [dict(one.named_parameters()) for one in own]
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            weight.copy_(
                torch.stack([share * one[name] for share, one in zip(shares, theirs, strict=True)]).sum(dim=0)
            )
