"""Bits, noise, coins and dice: the distribution that is claimed, and fresh every time."""

import multiprocessing
import random

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from privacy_samples import Seeded
from scipy import stats

from common.privacy.entropy import Entropy, uniform_below
from common.privacy.gaussian import sample_discrete_gaussian
from common.privacy.lattice import GRID, LatticeSum, noise_scale
from common.privacy.sampling import draw_groups, sample_patients

ALPHA = 1e-6
"""Chance that a test of a true distribution fails."""


def masses(scale: int, reach: int) -> np.ndarray:
    weights = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * scale**2))
    return weights / weights.sum()


@pytest.mark.parametrize("scale", [1, 2, 3, 5, 16])
@pytest.mark.parametrize("doubt", [2.0**-40, 1.0])
def test_samples_have_the_mass_of_the_discrete_gaussian(scale: int, doubt: float) -> None:
    count = 200_000 if doubt < 1 else 4_000  # with doubt 1 every decision is taken in exact arithmetic
    samples = sample_discrete_gaussian(Entropy(), scale, count, doubt=doubt)
    reach = 3 * scale
    inside = samples[np.abs(samples) <= reach]
    expected = masses(scale, 12 * scale)[9 * scale : -9 * scale] if scale > 0 else None
    observed = np.bincount(inside + reach, minlength=2 * reach + 1)
    assert stats.chisquare(observed, expected / expected.sum() * observed.sum()).pvalue > ALPHA
    assert stats.binomtest(len(inside), count, expected.sum()).pvalue > ALPHA


def test_exact_and_fast_decisions_agree_word_by_word() -> None:
    for seed in range(300):
        fast = sample_discrete_gaussian(Seeded(seed), 2**20, 1)
        exact = sample_discrete_gaussian(Seeded(seed), 2**20, 1, doubt=1.0)
        assert_array_equal(fast, exact)


@pytest.mark.parametrize("scale", [2**20, 2**21 + 12345, 3 * 2**20])
def test_wide_noise_has_the_deviation_asked_for(scale: int) -> None:
    samples = sample_discrete_gaussian(Entropy(), scale, 400_000).astype(float)
    low, high = stats.chi2.ppf([ALPHA / 2, 1 - ALPHA / 2], len(samples) - 1)
    assert low < samples.var(ddof=1) * (len(samples) - 1) / scale**2 < high
    assert stats.kstest(samples / scale, "norm").pvalue > ALPHA


def test_noise_is_scaled_to_what_a_patient_can_change() -> None:
    assert noise_scale(1.0, 1) == GRID
    assert noise_scale(1.0, 2) == 2 * GRID
    assert noise_scale(0.7, 2) >= 1.4 * GRID


def noise_of(_: int = 0) -> np.ndarray:
    total = LatticeSum([torch.zeros(200), torch.zeros(200)])
    total.add_noise(Entropy(), noise_multiplier=1.0, sensitivity=1)
    return total.total.numpy()


def test_tensors_of_equal_shape_do_not_share_noise() -> None:
    first, second = np.split(np.stack([noise_of() for _ in range(200)]), 2, axis=1)
    assert abs(stats.pearsonr(first.ravel(), second.ravel()).statistic) < 0.03


def test_seeding_every_known_generator_repeats_nothing() -> None:
    drawn = []
    for _ in range(2):
        random.seed(0)
        np.random.seed(0)
        torch.manual_seed(0)
        drawn.append(noise_of())
    assert not np.array_equal(*drawn)


def test_forked_and_fresh_processes_draw_other_noise() -> None:
    with multiprocessing.get_context("fork").Pool(2) as forked:
        drawn = [noise_of(), *forked.map(noise_of, range(4))]
    assert len({each.tobytes() for each in drawn}) == 5


def test_a_fresh_key_is_taken_before_the_old_one_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.privacy.entropy.REKEY_BYTES", 80)
    taken = []
    monkeypatch.setattr("os.urandom", lambda size: taken.append(size) or bytes([len(taken)]) * size)
    bits = Entropy()
    drawn = np.concatenate([bits.words(5) for _ in range(6)])
    assert taken == [32, 32, 32]
    assert len(set(drawn.tolist())) == 30


@pytest.mark.parametrize("bound", [1, 2, 3, 7, 2**63 + 1])
def test_dice_are_fair(bound: int) -> None:
    drawn = uniform_below(Entropy(), bound, 20_000)
    if bound < 10:
        assert (
            stats.chisquare(np.bincount(drawn, minlength=bound)).pvalue > ALPHA
            if bound > 1
            else not drawn.any()
        )
    else:
        assert stats.kstest(drawn.astype(np.uint64) / bound, "uniform").pvalue > ALPHA


def test_each_patient_takes_part_by_an_own_coin() -> None:
    patients, steps, rate = 300, 2000, 0.05
    numerator = int(rate * 2**32)
    drawn = np.zeros((steps, patients), dtype=bool)
    for step in range(steps):
        drawn[step, sample_patients(Entropy(), patients, numerator)] = True
    assert stats.binomtest(int(drawn.sum()), drawn.size, rate).pvalue > ALPHA
    per_patient = drawn.sum(axis=0)
    assert stats.chisquare(per_patient, np.full(patients, per_patient.mean())).pvalue > ALPHA
    # A shuffled loader has no variance here; coins have N q (1 - q).
    sizes = drawn.sum(axis=1)
    low, high = stats.chi2.ppf([ALPHA / 2, 1 - ALPHA / 2], steps - 1)
    assert low < sizes.var() * steps / (patients * rate * (1 - rate)) < high
    pairs = np.corrcoef(drawn.T.astype(float))[np.triu_indices(patients, 1)]
    assert abs(pairs.mean()) < 5 / np.sqrt(steps * len(pairs))


def test_everybody_or_nobody_can_take_part() -> None:
    assert len(sample_patients(Entropy(), 50, 2**32)) == 50
    assert len(sample_patients(Entropy(), 50, 0)) == 0
    assert len(sample_patients(Entropy(), 0, 2**31)) == 0


def test_groups_are_drawn_patient_by_patient() -> None:
    patients, groups, steps = 40, 5, 500
    where = np.zeros((steps, patients), dtype=int)
    for step in range(steps):
        for group, members in enumerate(draw_groups(Entropy(), np.arange(patients), groups)):
            where[step, members] = group
    assert stats.chisquare(np.bincount(where.ravel(), minlength=groups)).pvalue > ALPHA
    together = (where[:, :-1] == where[:, 1:]).mean()
    assert stats.binomtest(round(together * where[:, 1:].size), where[:, 1:].size, 1 / groups).pvalue > ALPHA


def test_a_patient_who_leaves_moves_nobody_else_to_another_group() -> None:
    """Cutting a shuffled list into chunks would; each own die does not."""
    everybody = draw_groups(Seeded(3), np.arange(30), 4)
    without_last = draw_groups(Seeded(3), np.arange(29), 4)
    for all_members, rest in zip(everybody, without_last, strict=True):
        assert_array_equal(all_members[all_members < 29], rest)
