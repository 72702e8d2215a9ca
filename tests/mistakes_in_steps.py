"""Known mistakes in the private step itself: sampling, clipping, summing, noise."""

import math
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import torch
from privacy_mistake import Mutant, bad
from privacy_samples import joint_spec
from secagg_round import members, play
from secagg_round import terms as secagg_terms
from torch import Tensor, nn

from common.privacy import joint, lattice, mechanism, units
from common.privacy.entropy import Entropy
from common.privacy.joint import JointNoise, shares
from common.privacy.lattice import GRID, LatticeSum
from common.privacy.step import sum_units
from common.secagg.abort import AbortError
from common.secagg.transcript import Cohort
from common.spec.privacy import JointPrivacySpec
from simulations.attacks.privacy import canaries, noise, sensitivity


def noise_alarms(_: None) -> bool:
    return bad(noise.attack_noise(coordinates=40_000))


def sampling_alarms(_: None) -> bool:
    return bad(noise.attack_sampling(steps=400))


def canaries_alarm(_: None) -> bool:
    return bad(canaries.attack_with_canaries(canaries=300, steps=5, epsilon=8.0))


def unit(weight: Tensor, direction: Tensor) -> Callable[[], Tensor]:
    return lambda: (weight * direction).sum()


def length_alarms(_: None) -> bool:
    """Many lengths and types: none may exceed C, and none may stop or poison the step."""
    for scale in (1e-30, 1.0, 1e4, 1e30):
        weight = nn.Parameter(torch.zeros(3001))
        direction = torch.randn(3001, generator=torch.Generator().manual_seed(1)) * scale
        try:
            total = sum_units([weight], [unit(weight, direction)]).total
        except AssertionError:
            return True
        if float(total.double().norm()) / GRID > 1 + 1e-12:
            return True
    return False


def poison_alarms(_: None) -> bool:
    """A patient whose gradient is not a number must weigh nothing."""
    weight = nn.Parameter(torch.zeros(4))
    healthy = unit(weight, torch.ones(4))
    try:
        found = sum_units([weight], [healthy, unit(weight, torch.full((4,), torch.nan))]).total
    except (ValueError, RuntimeError, AssertionError):
        return True
    return not torch.equal(found, sum_units([weight], [healthy]).total)


def divisor_alarms(_: None) -> bool:
    """The mean of one unit and that of two must differ by a whole unit, whoever came."""
    weight, direction = nn.Parameter(torch.zeros(4)), torch.ones(4)
    one, two = (sum_units([weight], [unit(weight, direction)] * count) for count in (1, 2))
    means = [total.mean([weight], 5)[0] for total in (one, two)]
    return not torch.allclose(means[1], 2 * means[0])


def shares_alarm(_: None) -> bool:
    """The honest of the smallest sum that is unmasked must have all of the noise that the ledger charges."""
    spec, weight = joint_spec(privacy__noise_multiplier=1.5), nn.Parameter(torch.zeros(20_000))
    assert isinstance(spec.privacy, JointPrivacySpec)
    honest = 4 - spec.privacy.colluding_sites  # of secure_aggregation.min_sites
    noise = joint.joint_noise(spec, 5)
    total = sum(joint.noisy_sum([weight], [], noise, Entropy()) for _ in range(honest)).double() / noise.grid
    width = float(total.std()) / (1.5 * mechanism.SENSITIVITY[spec.privacy.mechanism])
    return width < 1 - 6 / math.sqrt(2 * len(weight))


def survivors_alarm(_: None) -> bool:
    """Five sites agreed on sums of five: does the round end with the sum of four?"""
    try:
        play(members(5), secagg_terms(min_sites=5), drops={4: 2})
    except AbortError:
        return False
    return True


def turning_alarms(_: None) -> bool:
    return not sensitivity.turn_a_group().as_expected


def model_alarms(_: None) -> bool:
    return bad(sensitivity.attack_model([("global_contrastive",)], seeds=1))


def shuffled(bits: object, patients: int, numerator: int) -> np.ndarray:
    count = round(patients * numerator / 2**32)
    return np.sort(np.random.default_rng().permutation(patients)[:count])


def cut(bits: object, patients: np.ndarray, groups: int) -> list[np.ndarray]:
    return np.array_split(patients, groups)


def truncated(bits: object, patients: int, numerator: int) -> np.ndarray:
    from common.privacy.sampling import sample_patients

    return sample_patients(bits, patients, numerator)[: round(patients * numerator / 2**32)]  # type: ignore[arg-type]


def realised(self: LatticeSum, tensors: list[Tensor], denominator: int) -> list[Tensor]:
    came = max(1, round(float(self.total.double().norm()) / GRID))
    return [(self.total / (GRID * came)).float().view_as(tensors[0])]


def unchecked(length: float) -> bool:
    return True


def half_precision(gradient: Tensor) -> Tensor:
    return torch.linalg.vector_norm(gradient.detach().bfloat16()).float()


def by_chunk(parameters: list[Tensor], losses: list[Callable[[], Tensor]]) -> LatticeSum:
    """Clips every tensor by itself, so that the whole is longer than C."""
    total = LatticeSum(parameters)
    for loss in losses:
        value = loss()
        gradients = torch.autograd.grad(value, parameters, allow_unused=True)
        for place in range(len(parameters)):
            total.add([g if place == i else None for i, g in enumerate(gradients)])
    return total


def batched(population: units.Population, terms: object, bits: object) -> object:
    """All sampled patients in one batch: a coupled loss, clipped as a whole but charged as R."""
    everybody = np.arange(len(population))
    yield population.unit(everybody, terms, torch.Generator().manual_seed(0))  # type: ignore[arg-type]


def seeded(self: Entropy, count: int) -> np.ndarray:
    return torch.randint(-(2**63), 2**63 - 1, (count,)).numpy().view(np.uint64)


def rooted(multiplier: float, sensitivity_: int) -> int:
    return round(multiplier * sensitivity_ * GRID / 8**0.5)


def halved(multiplier: float, sensitivity_: int) -> int:
    return round(multiplier * sensitivity_ * GRID / 2)


def nobody_colludes(multiplier: float, name: str, *, honest_sites: int, sites: int) -> JointNoise:
    return shares(multiplier, name, honest_sites=honest_sites + 1, sites=sites)  # type: ignore[arg-type]


def shared(sites: float) -> Callable[[float, int], int]:
    """Noise that several sites would have to add together."""
    return lambda multiplier, sensitivity_: round(multiplier * sensitivity_ * GRID / sites)


MUTANTS = [
    Mutant(
        1,
        "all patients in one batch under R",
        lambda m: m.setattr(units.Population, "units", batched),
        model_alarms,
    ),
    Mutant(2, "a shuffled loader", lambda m: m.setattr(noise, "sample_patients", shuffled), sampling_alarms),
    Mutant(
        2, "a shuffled list cut into groups", lambda m: m.setattr(noise, "draw_groups", cut), sampling_alarms
    ),
    Mutant(3, "G with noise for C", lambda m: m.setitem(mechanism.SENSITIVITY, "G", 1), turning_alarms),
    Mutant(
        3,
        "G with noise for C, seen from outside",
        lambda m: m.setitem(mechanism.SENSITIVITY, "G", 1),
        canaries_alarm,
    ),
    Mutant(4, "division by who came", lambda m: m.setattr(LatticeSum, "mean", realised), divisor_alarms),
    Mutant(7, "no look at NaN", lambda m: m.setattr(lattice.math, "isfinite", unchecked), poison_alarms),
    Mutant(10, "a fixed key", lambda m: m.setattr("os.urandom", lambda size: bytes(size)), noise_alarms),
    Mutant(10, "a seeded generator", lambda m: m.setattr(Entropy, "words", seeded), noise_alarms),
    Mutant(
        11,
        "noise over the root of the batch",
        lambda m: m.setattr(lattice, "noise_scale", rooted),
        noise_alarms,
    ),
    Mutant(
        11,
        "half the noise, seen from outside",
        lambda m: m.setattr(lattice, "noise_scale", halved),
        canaries_alarm,
    ),
    Mutant(
        20, "clipping tensor by tensor", lambda m: m.setattr(sensitivity, "sum_units", by_chunk), model_alarms
    ),
    Mutant(21, "lengths in bfloat16", lambda m: m.setattr(lattice, "_length", half_precision), length_alarms),
    Mutant(
        25, "big batches cut short", lambda m: m.setattr(noise, "sample_patients", truncated), sampling_alarms
    ),
    Mutant(
        12,
        "noise over the number of sites",
        lambda m: m.setattr(lattice, "noise_scale", shared(10)),
        noise_alarms,
    ),
    Mutant(
        23, "noise over its root", lambda m: m.setattr(lattice, "noise_scale", shared(10**0.5)), noise_alarms
    ),
    Mutant(
        27,
        "noise that absent sites should add",
        lambda m: m.setattr(lattice, "noise_scale", shared(1.25)),
        noise_alarms,
    ),
    Mutant(
        27,
        "shares sized for all sites, though one may drop out",
        lambda m: m.setattr(joint, "_smallest_sum", lambda spec: 5),
        shares_alarm,
    ),
    Mutant(
        27,
        "shares sized as if nobody colluded",
        lambda m: m.setattr(joint, "shares", nobody_colludes),
        shares_alarm,
    ),
    Mutant(
        27,
        "shares over the number of sites instead of its root",
        lambda m: m.setattr(joint, "math", SimpleNamespace(sqrt=float, ceil=math.ceil)),
        shares_alarm,
    ),
    Mutant(
        27,
        "a sum over too few shares is unmasked",
        lambda m: m.setattr(Cohort, "require_survivors", Cohort.require_threshold),
        survivors_alarm,
    ),
]
ALARMS = list(dict.fromkeys(mutant.alarms for mutant in MUTANTS))
