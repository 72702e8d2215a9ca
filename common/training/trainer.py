"""Local training: the one loop that hospitals, the central baseline and the local-only baselines run."""

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from common.data.batch import Batch
from common.data.batches import Batches
from common.errors import ConfigurationError
from common.model.vlp import VLPModel
from common.spec.run import Spec
from common.spec.train import TrainSpec

BETAS = (0.9, 0.98)
"""AdamW's, as in Radford et al. 2021, arXiv:2103.00020, table 19 (ViT)."""


@dataclass
class LossSums:
    """What the objectives cost, kept as sums so that rounds and hospitals add up."""

    totals: dict[str, float] = field(default_factory=dict)
    """Objective -> sum over rows of the loss."""
    rows: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, mean: float, rows: int) -> None:
        """Count `rows` more rows of mean loss `mean`."""
        self.totals[name] = self.totals.get(name, 0.0) + mean * rows
        self.rows[name] = self.rows.get(name, 0) + rows

    def means(self) -> dict[str, float]:
        """Objective -> mean loss per row."""
        return {name: self.totals[name] / rows for name, rows in self.rows.items() if rows}


@dataclass(frozen=True)
class TrainingRecord:
    """What happened in some local steps."""

    steps: int
    examples: int
    """Private rows seen, repeats counted."""
    losses: LossSums
    seconds: float


def train(
    model: VLPModel,
    batches: Batches,
    spec: Spec,
    *,
    first_step: int,
    steps: int,
    total_steps: int,
    on_step: Callable[[int], None] | None = None,
) -> TrainingRecord:
    """Take `steps` AdamW steps from global step `first_step` of `total_steps`; `model` is changed in place.

    The optimiser starts afresh, so the result is a function of the weights, the spec, the rows and the step
    numbers. The learning rate follows one cosine over `total_steps`, and rises to it anew in each call.

    Raises:
        ConfigurationError: a loss or gradient is not finite; `model` keeps its last finite weights.
    """
    torch.set_num_threads(spec.train.threads)
    started = time.perf_counter()
    optimizer = build_optimizer(model, spec.train)
    losses = LossSums()
    model.train()
    for step in range(first_step, first_step + steps):
        rate = learning_rate_at(step, total_steps, spec.train) * ramp_at(step - first_step, spec.train)
        set_learning_rate(optimizer, rate)
        take_step(model, optimizer, batches.at(step), spec.train, losses)
        if on_step is not None:
            on_step(step)
    return TrainingRecord(steps, steps * batches.private_rows, losses, time.perf_counter() - started)


def take_step(
    model: VLPModel, optimizer: torch.optim.Optimizer, batch: Batch, spec: TrainSpec, losses: LossSums
) -> None:
    """Forward, backward, clip, step; the batch's losses are added to `losses`."""
    with precision_of(spec):
        found = model.losses(batch)
        if not found:
            return
        total = model.total(found)
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(total)
    norm = nn.utils.clip_grad_norm_(model.parameters(), spec.gradient_norm)
    _require_finite(norm, {name: loss.mean for name, loss in found.items()})
    optimizer.step()
    model.after_step()
    for name, loss in found.items():
        losses.add(name, loss.mean.item(), loss.rows)


@torch.inference_mode()
def validate(model: VLPModel, batches: list[Batch], spec: Spec) -> LossSums:
    """The objectives' losses on fixed batches; `model` is left as it is."""
    torch.set_num_threads(spec.train.threads)
    model.eval()
    losses = LossSums()
    for batch in batches:
        with precision_of(spec.train):
            found = model.losses(batch)
        for name, loss in found.items():
            losses.add(name, loss.mean.item(), loss.rows)
    return losses


def build_optimizer(model: nn.Module, spec: TrainSpec) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101); vectors, norms and scales are not decayed."""
    matrices = [weight for weight in model.parameters() if weight.ndim >= 2]
    others = [weight for weight in model.parameters() if weight.ndim < 2]
    return torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": spec.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=spec.learning_rate,
        betas=BETAS,
        fused=True,
    )


def learning_rate_at(step: int, total_steps: int, spec: TrainSpec) -> float:
    """Linear warm-up, then a cosine from `learning_rate` to its final share at the last step."""
    warmup = max(1, round(spec.warmup_share * total_steps))
    if step < warmup:
        return spec.learning_rate * (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, total_steps - 1 - warmup))
    low = spec.learning_rate * spec.final_learning_rate_share
    return low + (spec.learning_rate - low) * (1 + math.cos(math.pi * progress)) / 2


def ramp_at(steps_taken: int, spec: TrainSpec) -> float:
    """Share of the learning rate after so many steps of a fresh optimiser, above 0 to 1."""
    return min(1.0, (steps_taken + 1) / (spec.round_warmup_steps + 1))


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Use `rate` for all parameters from the next step on."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def precision_of(spec: TrainSpec) -> AbstractContextManager[object]:
    """Autocast to bfloat16, or no autocast; weights and sums stay in float32 either way."""
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=spec.precision == "bf16")


def _require_finite(norm: Tensor, means: dict[str, Tensor]) -> None:
    if bool(torch.isfinite(norm)):
        return
    blamed = [name for name, mean in means.items() if not bool(torch.isfinite(mean))]
    cause = f"the loss of {', '.join(blamed)}" if blamed else "a gradient"
    raise ConfigurationError(
        f"training stopped: {cause} is not finite; lower train.learning_rate or use train.precision = 'fp32'",
        outward=f"training stopped: {cause} is not finite",
    )
