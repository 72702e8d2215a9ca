"""Mode D: a sum over hospitals that is private, though no hospital's share of the noise would do.

A round is one step. Each of n sites sums the clipped gradients of its sampled units on a lattice, cuts every
coordinate to a public bound, adds its share of noise, and masks the result; the hub learns the sum over the
survivors modulo 2^24 and divides it by a public number. Unit, relation and sampling are those of
`common.privacy.mechanism`, and so is what one patient can change the site's sum by: at most the sensitivity
of R or G, because cutting to a box moves no two vectors apart.

Promise      Against the hub together with `colluding_sites` sites, who may tell it their noise or add none: a
             round is a Poisson-subsampled Gaussian of the spec's noise multiplier. Rests on secure
             aggregation: what the hub learns is the sum over all survivors of one round, and nothing else.
             *Proof.* Of `min_sites` survivors or more at least h = min_sites - colluding_sites are honest.
             Take all other inputs as known; what is learned is a function of the honest sites' sum, in which
             one patient changes one term, by the sensitivity at most, and which has h shares of noise or
             more, each of scale sigma sensitivity / sqrt(h), rounded up: of variance (sigma sensitivity)^2 or
             more together. Rounds compose adaptively: the next model is made of released sums.
Enforced     A site signs for survivors, and reveals what takes their masks off, only if they are `min_sites`
             or more (`common.secagg.site`); a hub that lacks their shares reads nothing. `colluding_sites` is
             at most what SA-1 withstands from a hub that shows different sites different survivors.
Fallback     Against the hub and *all* other sites a site's own share is left: a Poisson-subsampled Gaussian
             of multiplier sigma / sqrt(h). Its epsilon is computed and stated wherever the first one is.
Sum of noise A sum of discrete Gaussians is not quite one: the ratio of its probabilities to those of a
             discrete Gaussian of the same variance is within exp(+- 10 h exp(-pi^2 s^2)) (Kairouz, Liu and
             Steinke 2021, arXiv:2102.06387, on convolutions), s the scale of a share in lattice steps:
             nothing from s = 64 on.
Wrapping     Sums of n cut signals and 12 standard deviations of all shares fit into 24 bits. Beyond that a
             sum wraps, which costs the model a coordinate and the patient nothing.
Shapes: N coordinates of all trained tensors together.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor

from common.errors import ConfigurationError
from common.privacy.accounting import Steps
from common.privacy.entropy import Bits
from common.privacy.lattice import GRID
from common.privacy.mechanism import SENSITIVITY, MechanismName
from common.privacy.step import UnitLoss, sum_units
from common.secagg.terms import threshold
from common.spec.privacy import RATE_DENOMINATOR, JointPrivacySpec
from common.spec.run import Spec

WORD_BITS = 24
"""Of a sum over the sites, see `common.update.Profile`."""
SIGNAL = 16
"""Lengths C that one coordinate of a site's sum is cut to."""
NOISE_ROOM = 12
"""Standard deviations of the noise on a sum that a word has room for; more comes once in 10^32."""
COARSEST_GRID = 2**12
"""Fewer lattice steps in C would round a large model's gradients to nothing."""
SMALLEST_SCALE = 64
"""Of a share, in lattice steps; below, its sums are not as good as discrete Gaussians."""


@dataclass(frozen=True)
class JointNoise:
    """How every site of a federation adds its share; a function of the spec and of the number of sites."""

    honest_sites: int
    """h: so many shares make the whole noise."""
    grid: int
    """Lattice steps in C."""
    bound: int
    """Lattice steps that a coordinate of a site's sum is cut to."""
    scale: int
    """Standard deviation of a share, in lattice steps."""


def joint_noise(spec: Spec, sites: int) -> JointNoise:
    """The shares of `spec`, whose privacy is joint, in a federation of so many sites.

    Raises:
        ConfigurationError: they do not suffice, or their sum does not fit into a word.
    """
    privacy, smallest = spec.privacy, _smallest_sum(spec)
    assert isinstance(privacy, JointPrivacySpec)
    for cohort in range(smallest, sites + 1):
        if privacy.colluding_sites > withstood(cohort):
            raise ConfigurationError(
                f"privacy.colluding_sites = {privacy.colluding_sites}, but secure aggregation of {cohort} "
                f"sites withstands {withstood(cohort)}: write a smaller number"
            )
    return shares(
        privacy.noise_multiplier,
        privacy.mechanism,
        honest_sites=smallest - privacy.colluding_sites,
        sites=sites,
    )


def shares(noise_multiplier: float, mechanism: MechanismName, *, honest_sites: int, sites: int) -> JointNoise:
    """Shares of which `honest_sites` make the whole noise, on the finest lattice whose sum of `sites` fits.

    Raises:
        ConfigurationError: there is none.
    """
    width = noise_multiplier * SENSITIVITY[mechanism] / math.sqrt(honest_sites)
    for power in range(GRID.bit_length() - 1, COARSEST_GRID.bit_length() - 2, -1):
        noise = JointNoise(honest_sites, 2**power, SIGNAL * 2**power, math.ceil(width * 2**power))
        if _fits(noise, sites) and noise.scale >= SMALLEST_SCALE:
            return noise
    raise ConfigurationError(
        f"privacy.noise_multiplier = {noise_multiplier:g}: the sum over {sites} sites does not fit into "
        f"{WORD_BITS} bits; take fewer sites or privacy.mode = 'local'"
    )


def withstood(cohort: int) -> int:
    """Sites of a cohort that may collude with a hub that lies: any two groups that reveal share another."""
    return min(2 * threshold(cohort) - cohort - 1, threshold(cohort) - 1)


def noisy_sum(
    parameters: Sequence[Tensor], units: Iterable[UnitLoss], noise: JointNoise, bits: Bits
) -> Tensor:
    """(N,) int64: one site's cut sum with its share of noise; private by itself as the fallback says.

    Args:
        parameters: all that is trained.
        units: sampled patients (R) or groups (G); there may be none.
        noise: of the federation.
        bits: fresh in every step.
    """
    total = sum_units(parameters, units, grid=noise.grid)
    total.cut(noise.bound)
    total.add_share(bits, noise.scale)
    return total.total


def alone(noise_multiplier: float, noise: JointNoise) -> float:
    """The noise multiplier that is left against the hub and all other sites together."""
    return noise_multiplier / math.sqrt(noise.honest_sites)


def of_person(steps: Steps, hospitals: int) -> Steps:
    """What `steps` cost a person with patients at so many hospitals of one sum.

    Renyi curves do not add here: all the person's patients change the same sum. It changes at all with
    probability 1 - (1 - q)^k, and by k times the sensitivity at most.
    """
    apart = 1 - (1 - steps.rate_numerator / RATE_DENOMINATOR) ** hospitals
    numerator = min(RATE_DENOMINATOR, math.ceil(apart * RATE_DENOMINATOR))
    return Steps(numerator, steps.noise_multiplier / hospitals, steps.count)


def _smallest_sum(spec: Spec) -> int:
    assert spec.secure_aggregation.mode == "sa1", "the spec asks for it"
    return spec.secure_aggregation.min_sites


def _fits(noise: JointNoise, sites: int) -> bool:
    room = sites * noise.bound + NOISE_ROOM * math.sqrt(sites) * noise.scale
    return room < 1 << (WORD_BITS - 1)
