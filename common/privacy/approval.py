"""What must hold before a project with privacy exists: a proof for each objective, a budget that suffices."""

from collections.abc import Sequence

from common.errors import ConfigurationError
from common.privacy.accounting import Steps, epsilon_of
from common.privacy.joint import joint_noise
from common.privacy.mechanism import require_sound, terms_of
from common.spec.privacy import JointPrivacySpec, PatientPrivacySpec
from common.spec.run import Spec


def require_private(spec: Spec, sites: Sequence[str]) -> None:
    """Refuse a spec that promises what it cannot keep; one without privacy promises nothing.

    Raises:
        ConfigurationError: an objective has no proof under the mechanism, a site has no public size class,
        joint noise does not add up, or the rounds cost more than the budget.
    """
    privacy = spec.privacy
    if not isinstance(privacy, PatientPrivacySpec):
        return
    require_sound(spec)
    if isinstance(privacy, JointPrivacySpec):
        joint_noise(spec, len(sites))
    for site in sites:
        terms_of(privacy, site)
    steps = Steps(
        privacy.rate_numerator, privacy.noise_multiplier, spec.federation.rounds * spec.train.local_steps
    )
    epsilon = epsilon_of([steps], privacy.delta)
    if epsilon > privacy.epsilon:
        raise ConfigurationError(
            f"privacy.epsilon = {privacy.epsilon:g}, but {steps.count} steps at these settings cost "
            f"{epsilon:.2f}: "
            "take a larger noise_multiplier or fewer rounds; `fedvlp-sim privacy plan` finds one"
        )
