"""What private steps cost, against published values and a second accountant."""

import warnings

import pytest

from common.privacy.accounting import Steps, epsilon_of, reported_epsilon
from common.privacy.calibration import noise_for

# (noise multiplier, rate, steps, delta) -> epsilon by Opacus RDP, Google RDP, Google PLD.
PUBLISHED = [
    ((1.0, 0.01, 2000, 1e-5), (2.8665, 2.8665, 2.5839)),
    ((0.7, 0.0128, 300, 1e-5), (4.5515, 4.5523, 3.7384)),
    ((4.0, 0.5, 200, 1e-6), (10.3988, 10.4623, 9.7492)),
    ((1.2, 1.0, 10, 1e-5), (15.1004, 15.1004, 14.1194)),
    ((5.0, 1.0, 50, 1e-5), (7.0774, 7.0774, 6.5730)),
]
# (rate, steps, delta) -> noise multipliers for epsilon 8, 3 and 1 over ten epochs.
CALIBRATED = [
    ((0.256, 39, 1e-5), (1.33, 2.68, 6.73)),
    ((0.0128, 781, 1e-5), (0.64, 0.91, 1.67)),
    ((0.0512, 195, 1e-5), (0.84, 1.38, 3.11)),
    ((0.2048, 48, 1e-5), (1.23, 2.42, 6.00)),
    ((0.0128, 781, 5e-6), (0.65, 0.93, 1.72)),
    ((0.0512, 195, 5e-6), (0.85, 1.42, 3.22)),
    ((0.01024, 976, 1e-6), (0.65, 0.92, 1.68)),
]


def steps(noise: float, rate: float, count: int) -> Steps:
    return Steps(int(rate * 2**32), noise, count)


@pytest.mark.parametrize(("mechanism", "published"), PUBLISHED)
def test_epsilon_is_the_published_one(
    mechanism: tuple[float, float, int, float], published: tuple[float, float, float]
) -> None:
    noise, rate, count, delta = mechanism
    spent = [steps(noise, rate, count)]
    assert epsilon_of(spent, delta) == pytest.approx(published[1], abs=2e-4)
    assert reported_epsilon(spent, delta) == pytest.approx(published[2], abs=2e-4)
    assert reported_epsilon(spent, delta) < epsilon_of(spent, delta)


@pytest.mark.parametrize(("mechanism", "published"), PUBLISHED)
def test_a_second_accountant_agrees_within_a_percent(
    mechanism: tuple[float, float, int, float], published: tuple[float, float, float]
) -> None:
    from opacus.accountants import RDPAccountant

    noise, rate, count, delta = mechanism
    second = RDPAccountant()
    second.history = [(noise, rate, count)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the best order lying at an end of its list
        epsilon = second.get_epsilon(delta)
    assert epsilon == pytest.approx(published[0], abs=2e-4)
    assert epsilon_of([steps(noise, rate, count)], delta) == pytest.approx(epsilon, rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(("setting", "published"), CALIBRATED)
def test_noise_for_a_budget_is_the_published_one(
    setting: tuple[float, int, float], published: tuple[float, ...]
) -> None:
    rate, count, delta = setting
    for epsilon, expected in zip((8.0, 3.0, 1.0), published, strict=True):
        noise = noise_for(epsilon=epsilon, delta=delta, rate_numerator=int(rate * 2**32), steps=count)
        assert noise == pytest.approx(expected, abs=0.0051)


def test_the_least_noise_fits_and_a_little_less_does_not() -> None:
    rate = int(0.05 * 2**32)
    noise = noise_for(epsilon=3.0, delta=1e-5, rate_numerator=rate, steps=100)
    assert epsilon_of([Steps(rate, noise, 100)], 1e-5) <= 3.0
    assert epsilon_of([Steps(rate, noise - 1e-4, 100)], 1e-5) > 3.0


def test_steps_add_up_whatever_run_or_project_took_them() -> None:
    whole = epsilon_of([steps(1.0, 0.01, 30)], 1e-5)
    assert epsilon_of([steps(1.0, 0.01, 10), steps(1.0, 0.01, 20)], 1e-5) == pytest.approx(whole)
    assert epsilon_of([steps(1.0, 0.01, 30), steps(2.0, 0.1, 5)], 1e-5) > whole
    assert epsilon_of([], 1e-5) == 0
    assert epsilon_of([steps(1.0, 0.01, 0)], 1e-5) == reported_epsilon([], 1e-5) == 0


@pytest.mark.parametrize(("hospitals", "published"), [(2, 10.4), (3, 12.3), (5, 15.7)])
def test_a_patient_of_several_hospitals_is_charged_by_each(hospitals: int, published: float) -> None:
    rate = int(0.0512 * 2**32)
    noise = noise_for(epsilon=8.0, delta=1e-6, rate_numerator=rate, steps=195)
    found = epsilon_of([Steps(rate, noise, 195)], 1e-6, hospitals=hospitals)
    assert 8.0 < found < 8.0 * hospitals
    assert found == pytest.approx(published, rel=0.15)  # published at another rate and number of steps
