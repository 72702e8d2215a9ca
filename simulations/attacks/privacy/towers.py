"""Two tiny towers on vectors, and pipelines that people build of them: ours, and those that only look
private.

A patient is a pair of vectors. Every pipeline maps patients to the sum that it would put noise on.
Shapes: n patients, F features, E embedding width.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.privacy.lattice import GRID, LatticeSum
from common.privacy.step import sum_units

FEATURES, WIDTH, EMBEDDING = 12, 24, 8
TEMPERATURE = 0.07

People = tuple[Tensor, Tensor]
"""(n, F) images and (n, F) reports."""
Pipeline = Callable[[People], Tensor]
"""People -> the flat sum in units of C."""
RowLosses = Callable[[Tensor, Tensor], Tensor]
"""(n, E), (n, E) unit rows -> (n,) nats."""


class Towers(nn.Module):
    """Two perceptrons into one space; `norm` goes between their layers."""

    def __init__(self, norm: Callable[[int], nn.Module] = nn.LayerNorm) -> None:
        super().__init__()
        self.image, self.report = (
            nn.Sequential(nn.Linear(FEATURES, WIDTH), norm(WIDTH), nn.Tanh(), nn.Linear(WIDTH, EMBEDDING))
            for _ in range(2)
        )

    def forward(self, people: People) -> tuple[Tensor, Tensor]:
        """Unit rows of both."""
        image, report = people
        return F.normalize(self.image(image), dim=-1), F.normalize(self.report(report), dim=-1)


def in_batch(image: Tensor, report: Tensor) -> Tensor:
    """InfoNCE of each row against all others."""
    logits = image @ report.T / TEMPERATURE
    own = torch.arange(len(logits))
    return (
        F.cross_entropy(logits, own, reduction="none") + F.cross_entropy(logits.T, own, reduction="none")
    ) / 2


def in_batch_sigmoid(image: Tensor, report: Tensor) -> Tensor:
    """SigLIP of each row against all others (Zhai et al. 2023, arXiv:2303.15343)."""
    logits = image @ report.T / TEMPERATURE
    sign = 2 * torch.eye(len(logits)) - 1
    return -F.logsigmoid(sign * logits).sum(dim=1)


def against(public: Tensor) -> RowLosses:
    """InfoNCE of each row against its own report and (P, E) public ones."""

    def losses(image: Tensor, report: Tensor) -> Tensor:
        own = (image * report).sum(dim=1, keepdim=True)
        logits = torch.cat([own, image @ public.T], dim=1) / TEMPERATURE
        return F.cross_entropy(logits, torch.zeros(len(image), dtype=torch.int64), reduction="none")

    return losses


def by_patient(model: nn.Module, losses: RowLosses) -> Pipeline:
    """Mechanism R: our step, a unit per patient."""

    def summed(people: People) -> Tensor:
        units = [
            lambda i=i: losses(*model((people[0][i : i + 1], people[1][i : i + 1]))).sum()
            for i in range(len(people[0]))
        ]
        return _in_bounds(sum_units(list(model.parameters()), units))

    return summed


def by_group(model: nn.Module, losses: RowLosses, group_of: Tensor) -> Pipeline:
    """Mechanism G: our step, a unit per group; (n,) `group_of` was drawn before, patient by patient."""

    def summed(people: People) -> Tensor:
        groups = [group_of[: len(people[0])] == group for group in range(int(group_of.max()) + 1)]
        units = [
            lambda chosen=chosen: losses(*model((people[0][chosen], people[1][chosen]))).sum()
            for chosen in groups
            if chosen.any()
        ]
        return _in_bounds(sum_units(list(model.parameters()), units))

    return summed


def by_hooks(model: nn.Module, losses: RowLosses) -> Pipeline:
    """What per-sample hooks compute of a loss that couples rows: row i's share of the backward pass,
    clipped."""

    def summed(people: People) -> Tensor:
        image, report = model(people)
        ends = [part.detach().requires_grad_() for part in (image, report)]
        upstream = torch.autograd.grad(losses(*ends).sum(), ends)
        weights = list(model.parameters())
        total = torch.zeros(sum(weight.numel() for weight in weights))
        for i in range(len(image)):
            rows = torch.autograd.grad(
                [image[i], report[i]], weights, [each[i] for each in upstream], retain_graph=True
            )
            total += _clipped(rows)
        return total

    return summed


def by_losses_in_one_pass(model: nn.Module, losses: RowLosses) -> Pipeline:
    """A gradient per patient's loss, but of one pass over all: through BatchNorm every patient is in each."""

    def summed(people: People) -> Tensor:
        each = losses(*model(people))
        weights = list(model.parameters())
        return torch.stack(
            [_clipped(torch.autograd.grad(loss, weights, retain_graph=True)) for loss in each]
        ).sum(dim=0)

    return summed


def _clipped(gradients: tuple[Tensor, ...]) -> Tensor:
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    clipped: Tensor = flat / max(1.0, flat.norm().item())
    return clipped


def _in_bounds(total: LatticeSum) -> Tensor:
    return total.total.double() / GRID
