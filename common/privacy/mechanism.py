"""What is promised to a patient, the two mechanisms that keep it, and why each does.

Unit         A patient at a site: all studies of one person there. Two ids for one person break the unit; the
             site links them before ingest.
Relation     Add or remove one patient.
Sampling     In each step every patient takes part independently with the public probability a / 2^32; the
             coins come from a cryptographic generator that nobody can repeat.
Mechanism    Each unit of a step gives one gradient, scaled to a length below C = 1 and rounded toward zero on
             a lattice of 2^-20. The integers are summed; a discrete Gaussian is added to every coordinate;
             the sum is divided by a public number.
Scope        All that leaves the site: the update of each round is a function of the noisy sums, of the
             model that came in, and of public settings. Losses, counts, norms and times are withheld.
Adversary    Knows the model, the spec, the code and every other patient, sees every update and chooses every
             incoming model, and keeps to no protocol; does not see the site's memory. Noise and coins are
             drawn by an implementation in which time may depend on the draw: nothing timed leaves.

Mechanism R (sensitivity C). A unit is a patient: its loss reads that patient's rows and *public* rows. The
bank's pairs that a step compares with are drawn by lots of their own and encoded once, as constants:
functions of public data and of the model, which is made of noisy sums, so no other patient is in them. The
sum over units changes by one vector of length below C when a patient comes or goes. With noise of standard
deviation sigma C each step is a Poisson-subsampled Gaussian of multiplier sigma.

Mechanism G (sensitivity 2C). Each sampled patient draws one of k groups, independently and uniformly, k
public; a unit is a group, and its loss may couple the patients in it in any way. *Proof.* Condition on the
coins and groups omega of all other patients; the noisy sum is N(S, s^2) without patient x. With x it is
N(S, s^2) with probability 1 - q, and with probability q / k each N(S + D_j, s^2), where only the vector of
group j changed, from one of length below C to another (zero for an empty group), so |D_j| < 2C. By joint
convexity of the hockey-stick divergence over omega, whose law is the same on both sides, and over j, the
divergence in either order is at most that between (1 - q) N(0, s^2) + q N(2C, s^2) and N(0, s^2): a
Poisson-subsampled Gaussian of multiplier s / 2C. Hence s = 2 sigma C. Shuffling patients and cutting the list
into chunks is *not* this mechanism: one removal shifts every later chunk.

Steps compose adaptively (Mironov 2017, arXiv:1702.07476); what an optimiser, an average or the hub makes of
noisy sums costs nothing more. The accountants treat the noise as continuous. On the lattice the ratio of two
densities is the same at every point, and a sum over the lattice differs from the integral by a factor 1 +- 3
exp(-2 pi^2 s^2) (Poisson summation), s the standard deviation in lattice steps, above 2^16: nothing.
"""

from dataclasses import dataclass
from typing import Literal

from common.errors import ConfigurationError
from common.objectives.registry import coupling_objectives
from common.spec.privacy import RATE_DENOMINATOR, PatientPrivacySpec
from common.spec.run import Spec

MechanismName = Literal["R", "G"]
SENSITIVITY: dict[MechanismName, int] = {"R": 1, "G": 2}
"""In units of C: what one patient can change the sum by; proofs above."""


@dataclass(frozen=True)
class Terms:
    """The public constants of one site's private steps: nothing here is counted from its store."""

    mechanism: MechanismName
    rate_numerator: int
    """Patients are sampled with probability `rate_numerator` / 2^32."""
    noise_multiplier: float
    """Standard deviation of the noise over the sensitivity."""
    groups: int
    """k of mechanism G; 1 under R, where it is not used."""
    denominator: int
    """The noisy sum is divided by it: k under G, the nominal number of sampled patients under R."""
    studies_per_patient: int
    views_per_study: int

    @property
    def sensitivity(self) -> int:
        """In units of C."""
        return SENSITIVITY[self.mechanism]


def terms_of(privacy: PatientPrivacySpec, site: str) -> Terms:
    """The terms of `site`, from the spec alone.

    Raises:
        ConfigurationError: the spec gives no public number of patients for the site.
    """
    patients = privacy.patients.get(site)
    if patients is None:
        raise ConfigurationError(
            f"privacy.patients does not name site {site}: write its public size class",
            outward="site without a public size class",
        )
    sampled = patients * privacy.rate_numerator / RATE_DENOMINATOR
    groups = max(1, round(sampled / privacy.group_size)) if privacy.mechanism == "G" else 1
    return Terms(
        mechanism=privacy.mechanism,
        rate_numerator=privacy.rate_numerator,
        noise_multiplier=privacy.noise_multiplier,
        groups=groups,
        denominator=groups if privacy.mechanism == "G" else max(1, round(sampled)),
        studies_per_patient=privacy.studies_per_patient,
        views_per_study=privacy.views_per_study,
    )


def require_sound(spec: Spec) -> None:
    """Refuse an objective for which the spec's mechanism has no proof.

    An objective that couples rows compares patients with each other. Under G they are compared inside their
    group; under R a patient may be compared with public pairs, and there must be some.

    Raises:
        ConfigurationError: the objective and the reason.
    """
    privacy = spec.privacy
    if not isinstance(privacy, PatientPrivacySpec) or privacy.mechanism == "G":
        return
    coupling = coupling_objectives(spec)
    if coupling and not spec.data.anchor_pairs:
        raise ConfigurationError(
            f"objectives.{coupling[0]} compares the rows of a batch, so one patient changes every row's "
            "gradient and clipping by patient bounds nothing: set privacy.mechanism = 'G', or "
            "data.anchor_pairs > 0 to compare each patient with public pairs alone"
        )
