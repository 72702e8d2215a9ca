"""`[privacy]`: what differential privacy promises a patient; nothing here has a default.

The settings of `mode = "local"` and `mode = "joint"` are all that decides the promise; none of them changes
speed alone. What they mean together is proved in `common.privacy.mechanism` and `common.privacy.joint`;
`fedvlp-sim privacy plan` finds values that fit a budget.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from common.spec.section import Section

RATE_DENOMINATOR = 2**32
"""Sampling rates are whole multiples of 2^-32, so that coins are exact."""


class NoPrivacySpec(Section):
    """`none` says in writing that an update is protected by nothing but its site."""

    mode: Literal["none"]


class PatientPrivacySpec(Section):
    """What every promise to a patient consists of, whoever adds the noise."""

    mechanism: Literal["R", "G"]
    """R: a gradient per patient; G: a gradient per random group of patients."""
    epsilon: Annotated[float, Field(gt=0, le=64)]
    """What this project may spend of each patient at a site over all rounds; beyond 64 it is no promise."""
    delta: Annotated[float, Field(gt=0, lt=1)]
    """At most one in the number of patients of the smallest site."""
    noise_multiplier: PositiveFloat
    """Standard deviation of the noise in a step over the most that one patient can change."""
    sampling_rate: Annotated[float, Field(ge=2**-20, le=1)]
    """Chance that a patient takes part in a step; used as the next lower multiple of 2^-32."""
    group_size: PositiveInt
    """Patients that a group holds on average (G, about 8); 1 under R."""
    patients: dict[str, PositiveInt]
    """Site -> public size class: a rounded number of patients that the hospital agrees to publish, at most as
    many as it trains on. Decides denominators and weights; the true number decides nothing."""
    studies_per_patient: PositiveInt
    """A sampled patient with more studies shows this many of them, by lot."""
    views_per_study: PositiveInt
    """Augmented views of each study, averaged before clipping."""
    hospitals_per_patient: PositiveInt
    """Declared, not enforced: the most hospitals that hold one person; their losses add up."""
    tuned_on: Literal["public", "phantom"]
    """Data on which these settings and the learning rate were chosen; private data would cost budget."""

    @property
    def rate_numerator(self) -> int:
        """The sampling rate in units of 2^-32."""
        return int(self.sampling_rate * RATE_DENOMINATOR)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.mechanism == "R" and self.group_size != 1:
            raise ValueError("privacy.group_size must be 1 under mechanism R: each patient is alone")
        if self.mechanism == "G" and self.group_size < 2:
            raise ValueError("privacy.group_size must be at least 2 under mechanism G")
        if not self.patients:
            raise ValueError("privacy.patients is empty: write a public size class for every site")
        smallest = min(self.patients, key=lambda site: self.patients[site])
        if self.delta > 1 / self.patients[smallest]:
            raise ValueError(
                f"privacy.delta = {self.delta:g} is above 1 / {self.patients[smallest]}, the patients of "
                f"site {smallest}: a mechanism that publishes one patient whole would pass"
            )
        return self


class LocalPrivacySpec(PatientPrivacySpec):
    """Every site's update is differentially private by itself, whatever the hub does with it."""

    mode: Literal["local"]


class JointPrivacySpec(PatientPrivacySpec):
    """The sum over the sites is differentially private; one site's share of the noise is not enough.

    A round is one step on one gradient, the noisy sum over all sites. Needs secure aggregation: `epsilon`
    holds as long as it hides a share, and `colluding_sites` says among how many.
    """

    mode: Literal["joint"]
    colluding_sites: NonNegativeInt
    """Assumed, not enforced: so many sites of a sum may tell the hub their own noise, or add none. The other
    `secure_aggregation.min_sites` - `colluding_sites` suffice for all of the noise."""


PrivacySpec = Annotated[NoPrivacySpec | LocalPrivacySpec | JointPrivacySpec, Field(discriminator="mode")]

PRIVACY_MODES = ("none", "local", "joint")
