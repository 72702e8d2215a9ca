"""Canaries in the gradients: what someone who sees every noisy sum can tell of who took part.

m canaries, each with a coordinate of its own; a coin decides which are patients. The score of a canary is
the sum of its coordinate over all releases. Scores of members and of others are two Gaussians, and their
distance bounds epsilon from below (four standard errors); it must lie below what is claimed. Under
mechanism G a canary turns its group round, from -C to +C, which is all that one patient can do.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch
from scipy import optimize, stats

from common.privacy.accounting import Steps, reported_epsilon
from common.privacy.entropy import Entropy
from common.privacy.lattice import GRID, LatticeSum
from common.privacy.mechanism import SENSITIVITY, MechanismName
from simulations.attacks.privacy.finding import Finding

DELTA = 1e-5
MARGIN = 4.0
"""Standard errors: a true mechanism exceeds the bound once in 30 000 audits."""
QUIET = 1e-4
"""A noise multiplier that protects nobody."""


def attack_with_canaries(*, canaries: int, steps: int, epsilon: float) -> Iterator[Finding]:
    """The shipped sums and noise at `epsilon`, and with faults that must be seen."""
    noise = _noise_for(epsilon, steps)
    claimed = reported_epsilon([Steps(2**32, noise, steps)], DELTA)
    for mechanism, sensitivity in SENSITIVITY.items():
        found = _lower_bound(mechanism, canaries, steps, noise, sensitivity)
        yield _finding(f"{mechanism}, as shipped", found, claimed, ours=True)
        found = _lower_bound(mechanism, canaries, steps, QUIET, sensitivity)
        yield _finding(f"{mechanism}, noise off", found, claimed, ours=False)
        found = _lower_bound(mechanism, canaries, steps, noise / 2, sensitivity)
        yield _finding(f"{mechanism}, half the noise", found, claimed, ours=False)
    found = _lower_bound("G", canaries, steps, noise, SENSITIVITY["R"])
    yield _finding("G, noise for C instead of 2C", found, claimed, ours=False)


def _lower_bound(
    mechanism: MechanismName, canaries: int, steps: int, noise: float, sensitivity: int
) -> float:
    """Epsilon that the scores prove."""
    member = np.arange(canaries) % 2 == 0
    scores = np.zeros(canaries)
    huge = 1e9 * torch.eye(canaries)
    for _ in range(steps):
        total = LatticeSum([torch.zeros(canaries)])
        for canary in range(canaries):
            if mechanism == "G":
                total.add([huge[canary] if member[canary] else -huge[canary]])
            elif member[canary]:
                total.add([huge[canary]])
        total.add_noise(Entropy(), noise_multiplier=noise, sensitivity=sensitivity)
        scores += total.total.numpy() / GRID
    return proven_epsilon(scores[member], scores[~member])


def proven_epsilon(members: np.ndarray, others: np.ndarray) -> float:
    """Lower bound of epsilon at `DELTA` from scores of members and of others, taken as Gaussian."""
    spread = math.sqrt((members.var(ddof=1) + others.var(ddof=1)) / 2)
    distance = (members.mean() - others.mean()) / spread
    free = len(members) + len(others) - 2
    error = math.sqrt(1 / len(members) + 1 / len(others) + distance**2 / (2 * free))
    return gaussian_epsilon(max(0.0, distance - MARGIN * error))


def gaussian_epsilon(distance: float) -> float:
    """Epsilon at `DELTA` of two unit Gaussians so far apart (Balle and Wang 2018, arXiv:1805.06530, theorem
    8)."""

    def delta(epsilon: float) -> float:
        one = stats.norm.logcdf(distance / 2 - epsilon / distance)
        other = epsilon + stats.norm.logcdf(-distance / 2 - epsilon / distance)
        return float(np.exp(one) - np.exp(other))

    if distance <= 0 or delta(0.0) <= DELTA:
        return 0.0
    highest = distance**2 / 2 + 10 * distance + 10
    return float(optimize.brentq(lambda epsilon: delta(epsilon) - DELTA, 0.0, highest))


def _noise_for(epsilon: float, steps: int) -> float:
    """Every patient in every step: a Gaussian whose distance over all steps is sqrt(steps) / noise."""
    distance = optimize.brentq(lambda distance: gaussian_epsilon(distance) - epsilon, 1e-3, 100)
    return float(math.sqrt(steps) / distance)


def _finding(name: str, found: float, claimed: float, *, ours: bool) -> Finding:
    return Finding(
        part="canaries",
        name=name,
        kind="check" if ours else "control",
        measured=found,
        bound=claimed,
        words=f"scores prove epsilon {found:.2f}, {claimed:.2f} is claimed at delta {DELTA:g}",
    )
