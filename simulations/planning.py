"""What privacy costs before anyone trains: noise, steps, rate and group size for a wanted epsilon."""

import math
from dataclasses import asdict, dataclass

from common.errors import ConfigurationError
from common.privacy.accounting import Steps, epsilon_of, reported_epsilon
from common.privacy.calibration import noise_for
from common.privacy.mechanism import SENSITIVITY, MechanismName
from common.spec.privacy import RATE_DENOMINATOR


@dataclass(frozen=True)
class Plan:
    """One way to spend a budget."""

    mechanism: MechanismName
    patients: int
    """Public size class of the site."""
    patients_per_step: int
    sampling_rate: float
    group_size: int
    groups: int
    """Of mechanism G; 1 under R."""
    rounds: int
    local_steps: int
    epsilon: float
    delta: float
    noise_multiplier: float
    epsilon_reported: float
    """The same steps, bounded more tightly."""
    epsilon_of_hospitals: float
    """For a patient whom `hospitals` hold."""
    hospitals: int
    noise_per_unit: float
    """Standard deviation of one coordinate's noise, in lengths C of a unit, after division by the number of
    units: smaller is better, and it falls with patients per step."""

    def to_spec(self, site: str) -> str:
        """The `[privacy]` table of a spec, to copy."""
        return "\n".join(
            [
                "[privacy]",
                'mode = "local"',
                f'mechanism = "{self.mechanism}"',
                f"epsilon = {self.epsilon:g}",
                f"delta = {self.delta:g}",
                f"noise_multiplier = {self.noise_multiplier}",
                f"sampling_rate = {self.sampling_rate:.6g}",
                f"group_size = {self.group_size}",
                f"patients = {{ {site} = {self.patients} }}",
                "studies_per_patient = 3",
                "views_per_study = 1",
                f"hospitals_per_patient = {self.hospitals}",
                'tuned_on = "public"',
            ]
        )

    def to_json(self) -> dict[str, object]:
        """As `--json` prints it."""
        return asdict(self)


def plan(
    *,
    mechanism: MechanismName,
    patients: int,
    patients_per_step: int,
    group_size: int,
    rounds: int,
    local_steps: int,
    epsilon: float,
    delta: float,
    hospitals: int,
) -> Plan:
    """The least noise that keeps all rounds within `epsilon`.

    Raises:
        ConfigurationError: a number is out of range, or no noise suffices.
    """
    if not 0 < patients_per_step <= patients:
        raise ConfigurationError(
            f"--batch {patients_per_step}: from 1 to the {patients} patients of --patients"
        )
    if not 0 < epsilon <= 64:
        raise ConfigurationError(f"--epsilon {epsilon:g}: above 0 and at most 64")
    if not 0 < delta <= 1 / patients:
        raise ConfigurationError(f"--delta {delta:g}: above 0 and at most 1 / {patients}, one patient in all")
    rate = float(f"{patients_per_step / patients:.6g}")
    numerator = int(rate * RATE_DENOMINATOR)
    steps = rounds * local_steps
    noise = noise_for(epsilon=epsilon, delta=delta, rate_numerator=numerator, steps=steps)
    size = group_size if mechanism == "G" else 1
    groups = max(1, round(patients_per_step / size)) if mechanism == "G" else 1
    spent = [Steps(numerator, noise, steps)]
    units = groups if mechanism == "G" else patients_per_step
    return Plan(
        mechanism=mechanism,
        patients=patients,
        patients_per_step=patients_per_step,
        sampling_rate=rate,
        group_size=size,
        groups=groups,
        rounds=rounds,
        local_steps=local_steps,
        epsilon=epsilon,
        delta=delta,
        noise_multiplier=noise,
        epsilon_reported=reported_epsilon(spent, delta),
        epsilon_of_hospitals=epsilon_of(spent, delta, hospitals=hospitals),
        hospitals=hospitals,
        noise_per_unit=noise * SENSITIVITY[mechanism] / units,
    )


def curve(plans: list[Plan], width: int = 48) -> list[str]:
    """The noise of each plan as a bar on a logarithmic scale, for a terminal."""
    logs = [math.log10(each.noise_per_unit) for each in plans]
    low, high = min(logs), max(logs)
    span = max(high - low, 1e-9)
    return [
        f"{each.patients_per_step:>7} " + "█" * (1 + round((width - 1) * (value - low) / span))
        for each, value in zip(plans, logs, strict=True)
    ]
