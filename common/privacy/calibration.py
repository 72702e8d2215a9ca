"""The least noise that keeps a number of steps within a budget."""

from common.errors import ConfigurationError
from common.privacy.accounting import Steps, epsilon_of

SMALLEST, LARGEST = 0.2, 1e4
PRECISION = 1e-4
"""Noise multipliers are found to this, rounded up."""


def noise_for(*, epsilon: float, delta: float, rate_numerator: int, steps: int) -> float:
    """The smallest noise multiplier, to four decimals, whose Renyi epsilon over `steps` is at most `epsilon`.

    Raises:
        ConfigurationError: no noise that is worth training with does.
    """

    def fits(noise: float) -> bool:
        return epsilon_of([Steps(rate_numerator, noise, steps)], delta) <= epsilon

    if not fits(LARGEST):
        raise ConfigurationError(f"no noise below {LARGEST:g} keeps {steps} steps within epsilon {epsilon:g}")
    low, high = 0, round(LARGEST / PRECISION)
    probe = round(SMALLEST / PRECISION)
    while not fits(probe * PRECISION):
        low, probe = probe, 2 * probe
    high = min(high, probe)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (
            (low, middle)
            if middle * PRECISION >= SMALLEST / 4 and fits(middle * PRECISION)
            else (middle, high)
        )
    return round(high * PRECISION, 4)
