"""What privacy costs before anyone trains: noise, steps, rate and group size for a wanted epsilon."""

import math
from dataclasses import asdict, dataclass

from common.errors import ConfigurationError
from common.privacy.accounting import Steps, epsilon_of, reported_epsilon
from common.privacy.calibration import noise_for
from common.privacy.joint import alone, of_person, shares, withstood
from common.privacy.mechanism import SENSITIVITY, MechanismName
from common.spec.privacy import RATE_DENOMINATOR


@dataclass(frozen=True)
class Joint:
    """Sums that are unmasked, and whom they withstand."""

    min_sites: int
    colluding_sites: int


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
    """Standard deviation of one coordinate's noise on the mean over `sites`, in lengths C of a unit: smaller
    is better, and it falls with patients per step."""
    sites: int
    """Of like size in a round."""
    joint: Joint | None
    """None where the noise of every site is whole."""
    epsilon_alone: float | None
    """Of joint noise, if the hub and all other sites work together."""

    def to_spec(self, site: str) -> str:
        """The `[privacy]` table of a spec, to copy."""
        mode = ['mode = "local"']
        if self.joint is not None:
            mode = ['mode = "joint"', f"colluding_sites = {self.joint.colluding_sites}"]
        return "\n".join(
            [
                "[privacy]",
                *mode,
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
    sites: int = 1,
    joint: Joint | None = None,
) -> Plan:
    """The least noise that keeps all rounds within `epsilon`.

    Args:
        mechanism: R or G.
        patients: public size class of a site.
        patients_per_step: on average, at a site.
        group_size: of mechanism G.
        rounds: of the federation.
        local_steps: of a site in a round; 1 with `joint`.
        epsilon: what all of them may cost.
        delta: the probability that this may fail with.
        hospitals: that may hold one person.
        sites: of like size in a round; all of them survive.
        joint: None for mode L.

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
    if joint is not None:
        _require_joint(joint, sites, local_steps)
    rate = float(f"{patients_per_step / patients:.6g}")
    numerator = int(rate * RATE_DENOMINATOR)
    steps = rounds * local_steps
    noise = noise_for(epsilon=epsilon, delta=delta, rate_numerator=numerator, steps=steps)
    size = group_size if mechanism == "G" else 1
    groups = max(1, round(patients_per_step / size)) if mechanism == "G" else 1
    spent = [Steps(numerator, noise, steps)]
    units = groups if mechanism == "G" else patients_per_step
    width = noise
    if joint is not None:
        honest = joint.min_sites - joint.colluding_sites
        width = alone(noise, shares(noise, mechanism, honest_sites=honest, sites=sites))
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
        epsilon_of_hospitals=(
            epsilon_of(spent, delta, hospitals=hospitals)
            if joint is None
            else epsilon_of([of_person(step, hospitals) for step in spent], delta)
        ),
        hospitals=hospitals,
        noise_per_unit=width * SENSITIVITY[mechanism] / (units * math.sqrt(sites)),
        sites=sites,
        joint=joint,
        epsilon_alone=None if joint is None else epsilon_of([Steps(numerator, width, steps)], delta),
    )


def _require_joint(joint: Joint, sites: int, local_steps: int) -> None:
    if local_steps != 1:
        raise ConfigurationError(f"--local-steps {local_steps}: joint noise is for rounds of 1 step")
    if not 3 <= joint.min_sites <= sites:
        raise ConfigurationError(f"--min-sites {joint.min_sites}: from 3 to the {sites} of --sites")
    most = min(withstood(cohort) for cohort in range(joint.min_sites, sites + 1))
    if joint.colluding_sites > most:
        raise ConfigurationError(
            f"--colluding-sites {joint.colluding_sites}: secure aggregation of {joint.min_sites} to {sites} "
            f"sites withstands {most}"
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
