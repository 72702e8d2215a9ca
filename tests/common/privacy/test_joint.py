"""Joint noise: shares that add up to what the ledger charges, in words that do not wrap, and no fewer."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, reject
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from privacy_samples import JOINT, joint_spec
from scipy import stats
from torch import Tensor, nn

from common.errors import ConfigurationError
from common.privacy.accounting import Steps, epsilon_of
from common.privacy.approval import require_private
from common.privacy.entropy import Entropy
from common.privacy.joint import JointNoise, alone, joint_noise, noisy_sum, of_person, shares, withstood
from common.privacy.mechanism import SENSITIVITY, MechanismName
from common.update import Profile, add_packed, pack_sum, scaled

WIDE = Profile.named("wide", sites=256)
COORDINATES = 50_000

multipliers = st.floats(0.3, 20)
mechanisms = st.sampled_from(["R", "G"])
counts = st.integers(1, 40)


def noise_of(noise: JointNoise, coordinates: int = COORDINATES) -> np.ndarray:
    """One site's share, on the sum of nothing."""
    weight = nn.Parameter(torch.zeros(coordinates))
    return noisy_sum([weight], [], noise, Entropy()).numpy()


def shares_that_fit(
    multiplier: float, mechanism: MechanismName, *, honest_sites: int, sites: int
) -> JointNoise:
    """Examples that the spec would refuse are none."""
    try:
        return shares(multiplier, mechanism, honest_sites=honest_sites, sites=sites)
    except ConfigurationError:
        reject()


@given(multipliers, mechanisms, counts, counts)
def test_the_honest_shares_make_the_whole_noise_and_no_more_than_rounding(
    multiplier: float, mechanism: MechanismName, honest: int, others: int
) -> None:
    noise = shares_that_fit(multiplier, mechanism, honest_sites=honest, sites=honest + others)
    whole = (multiplier * SENSITIVITY[mechanism] * noise.grid) ** 2
    assert honest * noise.scale**2 >= whole * (1 - 1e-12)
    assert honest * (noise.scale - 1) ** 2 < whole


@given(multipliers, mechanisms, counts, counts)
def test_no_sum_of_the_sites_can_wrap(
    multiplier: float, mechanism: MechanismName, honest: int, others: int
) -> None:
    sites = honest + others
    noise = shares_that_fit(multiplier, mechanism, honest_sites=honest, sites=sites)
    extreme = sites * noise.bound + math.ceil(12 * math.sqrt(sites) * noise.scale)
    parts = np.full((sites, 2), extreme // sites) * [1, -1]
    parts[0] += [extreme % sites, -(extreme % sites)]
    total = WIDE.zeros(2)
    for part in parts:
        add_packed(total, pack_sum(part, WIDE), WIDE)
    assert_array_equal(total.integers(), [extreme, -extreme])
    assert_array_equal(scaled(total, np.float64(0.5)), np.array([extreme, -extreme]) / 2)


@pytest.mark.parametrize("survivors", [3, 5])
def test_the_noise_on_a_sum_is_gaussian_of_the_survivors_variance(survivors: int) -> None:
    noise = shares(1.3, "G", honest_sites=3, sites=5)
    total = sum(noise_of(noise) for _ in range(survivors))
    width = math.sqrt(survivors) * noise.scale
    assert stats.kstest(total / width, "norm").pvalue > 1e-6
    freedom = COORDINATES * total.var() / width**2
    assert 1e-6 < stats.chi2.cdf(freedom, COORDINATES) < 1 - 1e-6
    whole = 1.3 * 2 * noise.grid
    assert total.std() / whole > math.sqrt(survivors / 3) * (1 - 6 / math.sqrt(2 * COORDINATES))


def test_a_share_is_drawn_anew_every_time() -> None:
    noise = shares(1.3, "R", honest_sites=3, sites=5)
    first, second = (noise_of(noise) for _ in range(2))
    assert abs(np.corrcoef(first, second)[0, 1]) * math.sqrt(COORDINATES) < 6


def test_a_coordinate_is_cut_before_the_noise_comes() -> None:
    """A hundred units push one coordinate as far as they can; the sum stops at the public bound."""
    noise, weight = shares(1.0, "R", honest_sites=3, sites=4), nn.Parameter(torch.zeros(2))

    def push() -> Tensor:
        return 1000 * weight[0]

    total = noisy_sum([weight], [push] * 100, noise, Entropy())
    assert noise.bound == 16 * noise.grid
    assert abs(int(total[0]) - noise.bound) < 8 * noise.scale


@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), min_size=1), st.integers(1, 30))
def test_cutting_moves_no_two_sums_apart(pairs: list[tuple[int, int]], bound: int) -> None:
    one, other = np.array(pairs).T
    before = np.linalg.norm(one - other)
    after = np.linalg.norm(np.clip(one, -bound, bound) - np.clip(other, -bound, bound))
    assert after <= before


def test_collusion_that_secure_aggregation_withstands_is_what_is_published() -> None:
    """The table of SA-1: two of three sites, one of four, ..."""
    sites = (3, 4, 5, 6, 7, 10, 20, 50, 100)
    assert [withstood(cohort) for cohort in sites] == [2, 1, 2, 3, 2, 3, 7, 17, 33]


def test_alone_a_share_keeps_the_root_of_its_part() -> None:
    noise = shares(1.3, "G", honest_sites=4, sites=6)
    assert alone(1.3, noise) == pytest.approx(0.65)
    own = noise_of(noise).std() / (2 * noise.grid)
    assert own == pytest.approx(0.65, rel=6 / math.sqrt(2 * COORDINATES))


def test_a_person_of_several_hospitals_changes_one_sum_by_all_of_them() -> None:
    steps = Steps(2**30, 2.0, 10)
    assert of_person(steps, 1) == steps
    assert of_person(steps, 2) == Steps(2**32 - 9 * 2**28, 1.0, 10)  # 1 - (3 / 4)^2
    assert epsilon_of([of_person(steps, 2)], 1e-5) > epsilon_of([steps], 1e-5, hospitals=2)


def test_a_federation_sizes_its_shares_for_the_smallest_sum_it_allows() -> None:
    noise = joint_spec(privacy__colluding_sites=1, secure_aggregation__min_sites=3)
    assert joint_noise(noise, 4).honest_sites == 2
    assert joint_noise(joint_spec(), 4).honest_sites == 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"secure_aggregation": {"mode": "off"}}, "'joint' needs secure_aggregation.mode = 'sa1'"),
        ({"privacy__colluding_sites": 4}, "leaves no honest site"),
        ({"train__local_steps": 2}, "train.local_steps = 1"),
        ({"federation__profile": "thin"}, "federation.profile = 'wide'"),
        ({"train__weight_decay": 0.1}, "train.weight_decay does not go with privacy.mode = 'joint'"),
        ({"federation__weighting": "examples"}, "federation.weighting does not go"),
        ({"federation__update_clip": 0.5}, "federation.update_clip does not go"),
        ({"privacy": {**JOINT, "mode": "local"}}, "unknown key 'privacy.colluding_sites'"),
        (
            {"privacy": {key: value for key, value in JOINT.items() if key != "colluding_sites"}},
            "'privacy.colluding_sites' is missing",
        ),
    ],
)
def test_a_spec_that_cannot_have_joint_noise_is_refused_by_the_key(
    changes: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        joint_spec(**changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"privacy__colluding_sites": 2}, "of 4 sites withstands 1"),
        ({"privacy__noise_multiplier": 500.0}, "does not fit into 24 bits"),
        ({"privacy__noise_multiplier": 0.2}, "steps at these settings cost"),
    ],
)
def test_a_federation_that_cannot_keep_a_joint_promise_is_never_made(
    changes: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        require_private(joint_spec(**changes), ["east", "north", "south", "west"])
    require_private(joint_spec(), ["east", "north", "south", "west"])
