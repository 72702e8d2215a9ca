"""Which ways to train privately are compared, at which epsilons: a TOML file as an ablation's, and more."""

import math
from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from common.spec.section import Section
from simulations.ablation.plan import AblationPlan, Variant

Epsilons = tuple[Annotated[float, Field(gt=0, allow_inf_nan=True)], ...]
"""Infinity clips and adds no noise: what the mechanism itself costs."""


Rate = Annotated[float, Field(ge=2**-20, le=1)]


class Arm(Variant):
    """One way to train; without a mechanism it is ordinary training."""

    mechanism: Literal["R", "G"] | None = None
    group_size: PositiveInt = 1
    epsilons: Epsilons | None = None
    """Instead of the plan's."""
    sampling_rate: Rate | None = None
    """Instead of the plan's."""
    steps: PositiveInt | None = None
    """Instead of the plan's."""
    noise: Literal["together", "each_hospital"] = "together"
    """One noise on the sum of all hospitals, or one at each, and a mean of models after every round."""
    cohort_times: PositiveInt = 1
    """The mean gradient has the noise of a cohort so many times as large: what more patients bring."""


class Goal(Section):
    """What is hoped for, and the arms by which patients are counted that it would take."""

    epsilon: PositiveFloat
    kept: Annotated[float, Field(gt=0, le=1)]
    """Share of the gain without privacy."""
    cohorts: Annotated[tuple[str, ...], Field(min_length=1)]
    """Arms that differ in `cohort_times` alone, the smallest first."""


class StudyPlan(AblationPlan):
    """The whole study; `reference` is the arm that shows what can be gained without privacy."""

    variants: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")], Arm]  # type: ignore[assignment]
    epsilons: Epsilons
    delta: Annotated[float, Field(gt=0, lt=1)]
    tuned_on: Annotated[str, Field(min_length=1, max_length=200)]
    """Data on which the plan's settings were chosen; never those of the study, whose patients would pay."""
    goal: Goal
    start_steps: PositiveInt
    """Steps on the public bank from which every arm starts."""
    start_learning_rate: PositiveFloat
    steps: PositiveInt
    local_steps: PositiveInt
    """Between two means, where each hospital adds noise of its own."""
    sampling_rate: Rate
    """Chance of a patient to take part in a step: decides the noise."""
    looked_at: PositiveInt
    """Patients of all hospitals whose gradients a step computes, on average. Where the sampling rate asks for
    more, the noise is made larger in proportion, so that the mean gradient has that of all who would be
    sampled. It varies more than with all of them: a study says too little of private training rather than
    too much, in a fraction of the time."""

    @model_validator(mode="after")
    def _reference_is_not_private(self) -> Self:
        if self.variants[self.reference].mechanism is not None:
            raise ValueError(f"reference = '{self.reference}' has a mechanism: it must be without privacy")
        return self

    @model_validator(mode="after")
    def _goal_can_be_judged(self) -> Self:
        for name in self.goal.cohorts:
            if name not in self.variants:
                raise ValueError(f"goal.cohorts names '{name}', which is none of the variants")
            if self.goal.epsilon not in self.epsilons_of(name):
                raise ValueError(f"goal.epsilon = {self.goal.epsilon:g} is no epsilon of '{name}'")
        sizes = [self.variants[name].cohort_times for name in self.goal.cohorts]
        if sizes != sorted(set(sizes)):
            raise ValueError("goal.cohorts: write each size of cohort once, the smallest first")
        return self

    def epsilons_of(self, name: str) -> Epsilons:
        """At which epsilons an arm is tried; infinity alone without privacy."""
        arm = self.variants[name]
        return (math.inf,) if arm.mechanism is None else arm.epsilons or self.epsilons

    def cells(self) -> Iterator[tuple[str, float]]:
        """All arms with their epsilons, those that every comparison needs first."""
        yield self.reference, math.inf
        for name in self.variants:
            if name != self.reference:
                for epsilon in sorted(self.epsilons_of(name), reverse=True):
                    yield name, epsilon
