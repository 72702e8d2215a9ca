"""Who takes part in a step: every patient by an own coin, every group by an own die."""

import numpy as np
import numpy.typing as npt

from common.privacy.entropy import Bits, uniform_below

Members = npt.NDArray[np.int64]


def sample_patients(bits: Bits, num_patients: int, rate_numerator: int) -> Members:
    """Patients of this step, ascending: each with probability exactly `rate_numerator` / 2^32, independently.

    Nobody may be drawn: that is a step like any other, of noise alone.
    """
    coins = bits.words(num_patients) >> np.uint64(32)
    return np.flatnonzero(coins < np.uint64(rate_numerator)).astype(np.int64)


def draw_groups(bits: Bits, patients: Members, groups: int) -> list[Members]:
    """Who is in each of the k groups; each patient chooses alone, whoever else is there."""
    chosen = uniform_below(bits, groups, len(patients))
    return [patients[chosen == group] for group in range(groups)]
