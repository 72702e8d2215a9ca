"""Canaries in the final model: what somebody who is handed it can tell of who took part.

m canaries are pairs whose image and report have nothing to do with each other; a coin decides which are
patients. The score of a canary is by how much training has raised the likeness of its image and its report.
A threshold is chosen on the first half of the canaries; on the other half, how often members pass it and how
often others do bounds epsilon from below (Clopper and Pearson 1934; Jagielski et al. 2020,
arXiv:2006.07709). It must lie below what is claimed. The same training without noise is the control: if it
is not caught, the attack has no power.
Shapes: m canaries, F features, E embedding width.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor, nn

from common.privacy.calibration import noise_for
from common.privacy.entropy import Entropy
from common.privacy.mechanism import SENSITIVITY, MechanismName, Terms
from common.privacy.sampling import draw_groups, sample_patients
from common.privacy.step import UnitLoss, private_gradient
from simulations.attacks.privacy.finding import Finding
from simulations.attacks.privacy.towers import RowLosses, in_batch

FEATURES, WIDTH, EMBEDDING = 64, 128, 32
GROUP, RATE, PUBLIC = 8, 0.5, 32
DELTA = 1e-5
DOUBT = 1e-3
"""Chance that a bound is above the true epsilon."""
QUIET = 1e-6
"""A noise multiplier that protects nobody."""

Scores = npt.NDArray[np.float64]


class Memory(nn.Module):
    """Two towers wide enough to know every canary by heart."""

    def __init__(self) -> None:
        super().__init__()
        self.image, self.report = (
            nn.Sequential(nn.Linear(FEATURES, WIDTH), nn.Tanh(), nn.Linear(WIDTH, EMBEDDING))
            for _ in range(2)
        )

    def forward(self, image: Tensor, report: Tensor) -> tuple[Tensor, Tensor]:
        """(n, F), (n, F) -> (n, E) unit rows of both."""
        return F.normalize(self.image(image), dim=-1), F.normalize(self.report(report), dim=-1)


@dataclass(frozen=True)
class Canaries:
    """m pairs, of which some are patients."""

    image: Tensor
    report: Tensor
    member: npt.NDArray[np.bool_]

    @classmethod
    def drawn(cls, number: int) -> "Canaries":
        """New ones every time, half of them patients."""
        chance = np.random.default_rng()
        image, report = (
            torch.tensor(chance.normal(size=(number, FEATURES)), dtype=torch.float32) for _ in range(2)
        )
        return cls(image, report, chance.permutation(np.arange(number) % 2 == 0))

    def likeness(self, model: Memory) -> Scores:
        """(m,) cosine of each image and its report."""
        with torch.no_grad():
            image, report = model(self.image, self.report)
            cosine: Scores = (image * report).sum(dim=1).double().numpy()
        return cosine


def attack_final_model(*, canaries: int, steps: int, epsilon: float) -> Iterator[Finding]:
    """The shipped step at `epsilon` under R and G, and without its noise as the control."""
    for mechanism in SENSITIVITY:
        noise = noise_for(epsilon=epsilon, delta=DELTA, rate_numerator=int(RATE * 2**32), steps=steps)
        for name, multiplier in (("as shipped", noise), ("noise off", QUIET)):
            drawn = Canaries.drawn(canaries)
            gained = _gained(drawn, _terms(mechanism, canaries // 2, multiplier), steps)
            found = proven_epsilon(gained, drawn.member)
            yield Finding(
                part="model",
                name=f"{mechanism}, {name}",
                kind="check" if multiplier == noise else "control",
                measured=found,
                bound=epsilon,
                words=f"members are told from others with AUC {area(gained, drawn.member):.2f}, which proves "
                f"epsilon {found:.2f}; {epsilon:g} is claimed",
            )


def proven_epsilon(scores: Scores, member: npt.NDArray[np.bool_]) -> float:
    """Epsilon at DELTA that (m,) `scores` prove, by one threshold in each direction; 0 if nothing.

    Each of four rates is bounded with doubt DOUBT / 4, so that all four hold at once.
    """
    half = len(scores) // 2
    told = 0.0
    for sign in (1.0, -1.0):
        threshold = _best_threshold(sign * scores[:half], member[:half] == (sign > 0))
        passed = sign * scores[half:] > threshold
        own = member[half:] == (sign > 0)
        right = _least(int((passed & own).sum()), int(own.sum())) - DELTA
        wrong = 1 - _least(int((~passed & ~own).sum()), int((~own).sum()))
        told = max(told, math.log(right / wrong) if right > 0 else 0.0)
    return told


def _best_threshold(scores: Scores, own: npt.NDArray[np.bool_]) -> float:
    """Of the scores, the one that proves most."""

    def proof(threshold: float) -> float:
        passed = scores > threshold
        right = _least(int((passed & own).sum()), int(own.sum()))
        wrong = 1 - _least(int((~passed & ~own).sum()), int((~own).sum()))
        return math.log(right / wrong) if right > 0 else -math.inf

    return max(map(float, scores), key=proof)


def _least(hits: int, tries: int) -> float:
    """Lower Clopper-Pearson bound of a rate."""
    return float(stats.beta.ppf(DOUBT / 4, hits, tries - hits + 1)) if hits else 0.0


def area(scores: Scores, member: npt.NDArray[np.bool_]) -> float:
    """Chance that a member's score is above another's."""
    return float((scores[member][:, None] > scores[~member][None]).mean())


def _gained(canaries: Canaries, terms: Terms, steps: int) -> Scores:
    """(m,) what training on the members adds to each canary's likeness."""
    model = Memory()
    before = canaries.likeness(model)
    losses = _beside_public(model, PUBLIC) if terms.mechanism == "R" else in_batch
    image, report = (torch.as_tensor(part[canaries.member]) for part in (canaries.image, canaries.report))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    weights = list(model.parameters())
    for _ in range(steps):
        bits = Entropy()
        units = _units(model, losses, image, report, terms, bits)
        for weight, gradient in zip(weights, private_gradient(weights, units, terms, bits), strict=True):
            weight.grad = gradient
        optimizer.step()
    return canaries.likeness(model) - before


def _beside_public(model: Memory, number: int) -> RowLosses:
    """InfoNCE of each row among so many public pairs, encoded with the same weights."""
    pairs = torch.randn(number, FEATURES), torch.randn(number, FEATURES)

    def losses(image: Tensor, report: Tensor) -> Tensor:
        public_image, public_report = model(*pairs)
        together = in_batch(torch.cat([image, public_image]), torch.cat([report, public_report]))
        return together[: len(image)]

    return losses


def _units(
    model: Memory, losses: RowLosses, image: Tensor, report: Tensor, terms: Terms, bits: Entropy
) -> list[UnitLoss]:
    sampled = sample_patients(bits, len(image), terms.rate_numerator)
    members = (
        np.split(sampled, len(sampled))
        if terms.mechanism == "R"
        else draw_groups(bits, sampled, terms.groups)
    )

    def loss(chosen: npt.NDArray[np.int64]) -> UnitLoss:
        return lambda: losses(*model(image[chosen], report[chosen])).sum()

    return [loss(chosen) for chosen in members if len(chosen)]


def _terms(mechanism: MechanismName, patients: int, noise: float) -> Terms:
    groups = max(1, round(RATE * patients / GROUP))
    return Terms(
        mechanism=mechanism,
        rate_numerator=int(RATE * 2**32),
        noise_multiplier=noise,
        groups=groups,
        denominator=groups if mechanism == "G" else round(RATE * patients),
        studies_per_patient=1,
        views_per_study=1,
    )
