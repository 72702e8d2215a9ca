"""Which ways to train privately are compared, at which epsilons: a TOML file as an ablation's, and more."""

import math
from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from simulations.ablation.plan import AblationPlan, Variant

Epsilons = tuple[Annotated[float, Field(gt=0, allow_inf_nan=True)], ...]
"""Infinity clips and adds no noise: what the mechanism itself costs."""


class Arm(Variant):
    """One way to train; without a mechanism it is ordinary training."""

    mechanism: Literal["R", "G"] | None = None
    group_size: PositiveInt = 1
    epsilons: Epsilons | None = None
    """Instead of the plan's."""
    patients_per_step: PositiveInt | None = None
    """Instead of the plan's."""
    steps: PositiveInt | None = None
    """Instead of the plan's."""
    noise: Literal["together", "each_hospital"] = "together"
    """One noise on the sum of all hospitals, or one at each, and a mean of models after every round."""
    cohort_times: PositiveInt = 1
    """The noise of a cohort so many times as large, sampled at a rate so much smaller, on the patients that
    are there: what more patients would bring by their number alone."""


class StudyPlan(AblationPlan):
    """The whole study; `reference` is the arm that shows what can be gained without privacy."""

    variants: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")], Arm]  # type: ignore[assignment]
    epsilons: Epsilons
    delta: Annotated[float, Field(gt=0, lt=1)]
    start_steps: PositiveInt
    """Steps on the public bank from which every arm starts."""
    start_learning_rate: PositiveFloat
    steps: PositiveInt
    local_steps: PositiveInt
    """Between two means, where each hospital adds noise of its own."""
    patients_per_step: PositiveInt
    """Of all hospitals together, on average."""

    @model_validator(mode="after")
    def _reference_is_not_private(self) -> Self:
        if self.variants[self.reference].mechanism is not None:
            raise ValueError(f"reference = '{self.reference}' has a mechanism: it must be without privacy")
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
