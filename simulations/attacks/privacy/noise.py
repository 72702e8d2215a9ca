"""Is the noise as wide as it must be, and is anything about coins, dice and noise ever repeated?"""

import multiprocessing
import random
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from scipy import stats
from torch import nn

from common.privacy.entropy import Entropy
from common.privacy.joint import alone, noisy_sum, shares
from common.privacy.lattice import GRID, LatticeSum, noise_scale
from common.privacy.mechanism import SENSITIVITY
from common.privacy.sampling import draw_groups, sample_patients
from simulations.attacks.privacy.finding import Finding

SURPRISE = 6.0
"""Standard deviations that a true distribution exceeds once in 5 * 10^8 tests."""
NOISE = 1.3
"""A noise multiplier to test with."""
SITES, HONEST = 7, 4
"""Of a federation whose noise is joint."""


def attack_noise(*, coordinates: int) -> Iterator[Finding]:
    """Width, shape, independence, and freshness after seeding and in other processes."""
    for mechanism, sensitivity in SENSITIVITY.items():
        noise = _noise(coordinates, sensitivity)
        width = noise.std() / (NOISE * sensitivity)
        error = (width - 1) * np.sqrt(2 * coordinates)
        yield _finding("noise", f"{mechanism}, width", abs(error), f"{width:.4f} of what the ledger charges")
        distance = stats.kstest(noise / (NOISE * sensitivity), "norm").statistic * np.sqrt(coordinates)
        yield _finding(
            "noise", f"{mechanism}, shape", distance, "Kolmogorov-Smirnov distance from a Gaussian", 3.0
        )
    half = noise_scale(NOISE / 2, 1) / GRID / NOISE
    yield _finding(
        "noise",
        "half the noise",
        abs(half - 1) * np.sqrt(2 * coordinates),
        "half of what is charged",
        ours=False,
    )
    first, second = np.split(_noise(2 * (coordinates // 2), 1), 2)
    shared = abs(np.corrcoef(first, second)[0, 1]) * np.sqrt(len(first))
    yield _finding("noise", "two tensors of one shape", shared, "correlation of their noise")
    same_key = abs(np.corrcoef(first, first)[0, 1]) * np.sqrt(len(first))
    yield _finding("noise", "one key for two tensors", same_key, "correlation of their noise", ours=False)
    yield _finding("noise", "after a restart or a seed", _repeats(), "equal draws in six", 0.0)


def attack_joint_noise(*, coordinates: int) -> Iterator[Finding]:
    """Are the shares of the honest hospitals together as wide as what is charged, and is one less noticed?"""
    weight = nn.Parameter(torch.zeros(coordinates))
    for mechanism, sensitivity in SENSITIVITY.items():
        noise = shares(NOISE, mechanism, honest_sites=HONEST, sites=SITES)
        drawn = [noisy_sum([weight], [], noise, Entropy()).numpy() for _ in range(HONEST)]
        whole = NOISE * sensitivity * noise.grid
        width = np.sum(drawn, axis=0).std() / whole
        error = (1 - width) * np.sqrt(2 * coordinates)
        words = f"{width:.4f} of what the ledger charges"
        yield _finding("noise", f"{mechanism}, {HONEST} joint shares, too narrow", error, words)
        own = drawn[0].std() / whole / (alone(NOISE, noise) / NOISE)
        words = f"{own:.4f} of what is stated for one hospital alone"
        yield _finding(
            "noise", f"{mechanism}, one share, too narrow", (1 - own) * np.sqrt(2 * coordinates), words
        )
        missing = np.sum(drawn[1:], axis=0).std() / whole
        yield _finding(
            "noise",
            f"{mechanism}, a share missing",
            (1 - missing) * np.sqrt(2 * coordinates),
            f"{missing:.4f} of what is charged: what secure aggregation never unmasks",
            ours=False,
        )


def attack_sampling(*, steps: int) -> Iterator[Finding]:
    """Coins that are independent, groups that move nobody, and a shuffled loader as the control."""
    patients, rate = 200, 0.05
    numerator = int(rate * 2**32)
    drawn = np.zeros((steps, patients))
    for step in range(steps):
        drawn[step, sample_patients(Entropy(), patients, numerator)] = 1
    exact = numerator / 2**32
    expected = drawn.size * exact
    error = abs(drawn.sum() - expected) / np.sqrt(expected * (1 - exact))
    yield _finding("sampling", "rate of taking part", error, f"{drawn.mean():.4f}, publicly {rate}")
    yield _spread("spread of batch sizes", drawn.sum(axis=1), patients, rate, ours=True)
    shuffled = np.full(steps, patients * rate)
    yield _spread("a shuffled loader", shuffled, patients, rate, ours=False)
    where = np.zeros((steps, 20))
    for step in range(steps):
        for group, members in enumerate(draw_groups(Entropy(), np.arange(20), 4)):
            where[step, members] = group
    together = (where[:, :-1] == where[:, 1:]).mean()
    deviation = np.sqrt(0.25 * 0.75 / where[:, 1:].size)
    yield _finding(
        "sampling", "two patients in one of four groups", abs(together - 0.25) / deviation, f"{together:.4f}"
    )


def _spread(name: str, sizes: npt.NDArray[np.float64], patients: int, rate: float, *, ours: bool) -> Finding:
    ratio = float(sizes.var() / (patients * rate * (1 - rate)))
    error = abs(ratio - 1) * np.sqrt(len(sizes) / 2)
    return _finding("sampling", name, error, f"{ratio:.3f} of the variance of coins", ours=ours)


def _noise(coordinates: int, sensitivity: int) -> npt.NDArray[np.float64]:
    """Shipped noise on a sum of nothing, in units of C."""
    total = LatticeSum([torch.zeros(coordinates)])
    total.add_noise(Entropy(), noise_multiplier=NOISE, sensitivity=sensitivity)
    return total.total.numpy() / GRID


def _draw(seed: int) -> bytes:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    return _noise(64, 1).tobytes()


def _repeats() -> float:
    """How many of six draws, from one seed, here and in two forked processes, are equal to another."""
    with multiprocessing.get_context("fork").Pool(2) as forked:
        drawn = [_draw(0), _draw(0), *forked.map(_draw, [0] * 4)]
    return float(len(drawn) - len(set(drawn)))


def _finding(
    part: str, name: str, measured: float, words: str, bound: float = SURPRISE, *, ours: bool = True
) -> Finding:
    return Finding.model_validate(
        {
            "part": part,
            "name": name,
            "kind": "check" if ours else "control",
            "measured": float(measured),
            "bound": bound,
            "words": words,
        }
    )
