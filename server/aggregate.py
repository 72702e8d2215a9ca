"""One accumulator of integers, whatever the number of hospitals: add an answer, drop it, take the next.

Shapes: N coordinates of the model, K sums.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from common.errors import IntegrityError
from common.messages import Answer, Instruction
from common.privacy.joint import joint_noise
from common.privacy.mechanism import terms_of
from common.project import Project
from common.spec.privacy import JointPrivacySpec
from common.update import (
    FIXED_POINT,
    Layout,
    Planes,
    Profile,
    Vector,
    add_packed,
    mean_update,
    scaled,
    sum_names,
)

Lanes = dict[str, int]
"""Name of a sum -> its value; see `common.update.sum_names`."""


@dataclass(frozen=True)
class RoundSum:
    """What a round's answers add up to."""

    mean: Vector
    """(N,) weighted mean update."""
    lanes: Lanes


class Accumulator:
    """Adds answers to one instruction, in any order."""

    def __init__(
        self,
        layout: Layout,
        objectives: tuple[str, ...],
        instruction: Instruction,
        profile: Profile,
        *,
        weight_cap: int,
    ) -> None:
        """Begin with nothing; no answer may weigh more than `weight_cap`, the spec's public bound."""
        self._layout = layout
        self._profile = profile
        self._weight_cap = weight_cap
        self._names = sum_names(objectives)
        self._expected = (instruction.round, instruction.project, instruction.model)
        self._clips = instruction.clips
        self._total = profile.zeros(layout.num_coordinates)
        self._sums = np.zeros(len(self._names), dtype=np.uint64)

    def add(self, answer: Answer) -> Lanes:
        """Add one hospital's answer and return its own sums; a refused answer leaves no trace.

        Raises:
            IntegrityError: it answers another instruction, or does not fit the model.
        """
        if (answer.round, answer.project, answer.model) != self._expected:
            raise IntegrityError("the answer belongs to another round, project or model")
        if answer.sums.shape != self._sums.shape:
            raise IntegrityError("the answer carries other sums than the project names")
        lanes = self._named(answer.sums)
        if not 1 <= lanes["weight"] <= self._weight_cap:
            raise IntegrityError(f"the answer weighs {lanes['weight']}, not 1 to {self._weight_cap}")
        add_packed(self._total, answer.planes, self._profile)
        self._sums += answer.sums
        return lanes

    def take_sum(self, total: Planes, sums: npt.NDArray[np.uint64], *, sites: int) -> None:
        """Take what secure aggregation summed over `sites` answers, as if they had been added one by one.

        Raises:
            IntegrityError: the weights cannot be those of so many sites.
        """
        weight = self._named(sums)["weight"]
        if not sites <= weight <= sites * self._weight_cap:
            raise IntegrityError(
                f"{sites} answers weigh {weight}, not {sites} to {sites * self._weight_cap} together"
            )
        self._total, self._sums = total, sums

    def finish(self) -> RoundSum:
        """The weighted mean of all answers added; at least one was."""
        lanes = self._named(self._sums)
        weight = lanes["weight"] / self._weight_cap
        mean = mean_update(self._total, self._clips, self._layout, self._profile, weight=weight)
        return RoundSum(mean, lanes)

    def finish_joint(self, project: Project, survivors: Sequence[str]) -> RoundSum:
        """Minus the mean of the noisy gradients of the units that `survivors` nominally sampled."""
        privacy = project.spec.privacy
        assert isinstance(privacy, JointPrivacySpec)
        noise = joint_noise(project.spec, len(project.manifest.sites))
        units = sum(terms_of(privacy, site).denominator for site in survivors)
        mean = scaled(self._total, np.float64(-1 / (noise.grid * units)))
        return RoundSum(mean, self._named(self._sums))

    def _named(self, sums: npt.NDArray[np.uint64]) -> Lanes:
        return dict(zip(self._names, sums.tolist(), strict=True))


def mean_losses(lanes: Lanes, moment: str) -> dict[str, float]:
    """Objective -> mean loss per row, if any; `moment` is "training" or "validation"."""
    objectives = [name.split("/")[1] for name in lanes if name.startswith(moment) and name.endswith("/rows")]
    return {
        name: lanes[f"{moment}/{name}/loss"] / FIXED_POINT / lanes[f"{moment}/{name}/rows"]
        for name in objectives
        if lanes[f"{moment}/{name}/rows"]
    }
