"""Local training: the one loop that hospitals, the central baseline and the local-only baselines run."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from common.data.batch import Batch
from common.data.batches import Batches
from common.data.layout import visible_patches
from common.errors import ConfigurationError
from common.model.vlp import VLPModel
from common.objectives.base import Loss
from common.objectives.registry import REGULARISERS
from common.seeds import derive_seed, generator, seed_chance
from common.spec.run import Spec
from common.training.company import in_company
from common.training.device import made_on, pick_device, precision_of, repeatable
from common.training.gradient import Plan, backpropagate
from common.training.losses import LossSums
from common.training.optimizer import (
    MeanWeights,
    build_optimizer,
    learning_rate_at,
    ramp_at,
    set_learning_rate,
)
from common.training.peers import ALONE, Peers
from common.training.resume import RoundState, read_state, round_key, write_state
from common.training.towers import hastened

CLOSE = 0.999
"""Share of the largest allowed norm above which gradients may be scaled: torch divides by a little more."""


@dataclass(frozen=True)
class Stretch:
    """Which steps of a run are taken."""

    first_step: int
    steps: int
    total_steps: int
    """Of the whole run, which the learning rate's cosine spans."""


@dataclass(frozen=True)
class _Learner:
    """What is trained, and what trains it."""

    model: VLPModel
    weights: list[nn.Parameter]
    """The model's, in its order: finding them takes a walk through all modules."""
    optimizer: torch.optim.Optimizer


@dataclass(frozen=True)
class TrainingRecord:
    """What happened in some local steps."""

    steps: int
    examples: int
    """Private rows seen, repeats counted."""
    losses: LossSums
    seconds: float
    joint_sum: npt.NDArray[np.int64] | None = None
    """(N,) under joint privacy: this site's part of the sum, with noise; the model itself was not moved."""


def train(
    model: VLPModel,
    batches: Batches,
    spec: Spec,
    *,
    first_step: int,
    steps: int,
    total_steps: int,
    on_step: Callable[[int], None] | None = None,
    state: Path | None = None,
) -> TrainingRecord:
    """Take `steps` AdamW steps from global step `first_step` of `total_steps`; `model` is changed in place.

    The optimiser starts afresh, so the result is a function of the weights, the spec, the rows and the step
    numbers. The learning rate follows one cosine over `total_steps`, and rises to it anew in each call.

    Args:
        model: on the CPU before and after; in between it lies where the spec says.
        batches: of this site.
        spec: of the run.
        first_step: global number of the first step.
        steps: how many to take.
        total_steps: of the whole run.
        on_step: told the number of each step that was taken.
        state: file that a killed call left its state in, and that this one leaves its own in, every
            `train.save_every_steps`. The end is the same to the bit as that of a call that nobody killed.

    Raises:
        ConfigurationError: a loss or gradient is not finite (`model` keeps its last finite weights), or the
            spec asks for what this machine has not.
    """
    stretch = Stretch(first_step, steps, total_steps)
    if spec.train.processes > 1:
        return in_company(
            take_steps,
            model,
            batches,
            spec,
            stretch,
            count=spec.train.processes,
            backend="nccl" if pick_device(spec.train).type == "cuda" else "gloo",
            on_step=on_step,
            state=state,
        )
    return take_steps(model, batches, spec, stretch, ALONE, on_step=on_step, state=state)


def take_steps(
    model: VLPModel,
    batches: Batches,
    spec: Spec,
    stretch: Stretch,
    peers: Peers,
    *,
    on_step: Callable[[int], None] | None = None,
    state: Path | None = None,
) -> TrainingRecord:
    """What `train` does, as one of `peers`."""
    started = time.perf_counter()
    device = pick_device(spec.train, peers.rank)
    plan = Plan(lambda: precision_of(spec.train, device), spec.train.chunk_rows, peers)
    with (
        model.remembering(),
        repeatable(spec.train, device),
        hastened(model, spec.train),
        _lying_on(model, device),
    ):
        key = round_key(spec, batches.site, stretch.first_step, stretch.steps, model) if state else ""
        optimizer = build_optimizer(model, spec.train)
        learner = _Learner(model, list(model.parameters()), optimizer)
        means = MeanWeights(model, spec.train.ema_decay) if spec.train.ema_decay else None
        kept = read_state(state, key) if state else None
        losses = LossSums() if kept is None else kept.restore(model, optimizer, means)
        model.train()
        for taken in range(0 if kept is None else kept.steps_taken, stretch.steps):
            step = stretch.first_step + taken
            rate = learning_rate_at(step, stretch.total_steps, spec.train) * ramp_at(taken, spec.train)
            set_learning_rate(optimizer, rate)
            _take_step(learner, batches, spec, stretch, step, plan, losses)
            if means is not None:
                means.add(model)
            if state and peers.rank == 0 and _is_due(taken + 1, stretch.steps, spec.train.save_every_steps):
                write_state(state, RoundState.of(key, taken + 1, model, optimizer, means, losses))
            if on_step is not None:
                on_step(step)
                model.to(device)
        if means is not None:
            means.put_into(model)
    examples = stretch.steps * spec.train.accumulate_batches * batches.private_rows
    return TrainingRecord(stretch.steps, examples, losses, time.perf_counter() - started)


@torch.inference_mode()
def validate(model: VLPModel, batches: list[Batch], spec: Spec) -> LossSums:
    """The objectives' losses on fixed batches; `model` is left as it is."""
    device = pick_device(spec.train)
    model.eval()
    losses = LossSums()
    with repeatable(spec.train, device), _lying_on(model, device):
        for number, batch in enumerate(batches):
            seed_chance(derive_seed(spec.seed, "validation", number))
            with precision_of(spec.train, device), made_on(device):
                found = model.losses(batch.to(device))
            losses.add_all(found)
    return losses


def _take_step(
    learner: _Learner,
    batches: Batches,
    spec: Spec,
    stretch: Stretch,
    step: int,
    plan: Plan,
    losses: LossSums,
) -> None:
    """Forward, backward, clip, step; the losses of the step's batches are added to `losses`."""
    model, device = learner.model, learner.weights[0].device
    together = spec.train.accumulate_batches
    learner.optimizer.zero_grad(set_to_none=True)
    seen: list[tuple[Batch, int]] = []
    found: list[dict[str, Loss]] = []
    for number in range(step * together, (step + 1) * together):
        batch = _drop_patches(batches.at(number), batches, spec, stretch, step, number).to(device)
        seen.append((batch, derive_seed(spec.seed, "step", batches.site, number)))
        with made_on(device):
            found.append(backpropagate(model, batch, plan, seed=seen[-1][1], share=1 / together))
    taught = sum(bool(losses_of_batch.keys() - REGULARISERS) for losses_of_batch in found)
    losses.skipped += together - taught
    if not taught:
        return
    plan.peers.add_gradients(model)
    if not _clip(learner.weights, spec.train.gradient_norm):
        raise _not_finite(_blamed(model, seen, found, plan), step)
    learner.optimizer.step()
    model.after_step()
    for losses_of_batch in found:
        losses.add_all(losses_of_batch)


def _clip(weights: list[nn.Parameter], most: float) -> bool:
    """Scale the gradients down to a norm of `most` if theirs is larger; whether they are finite."""
    norm = nn.utils.get_total_norm([weight.grad for weight in weights if weight.grad is not None])
    if not bool(torch.isfinite(norm)):
        return False
    if float(norm) > most * CLOSE:
        nn.utils.clip_grads_with_norm_(weights, most, norm)
    return True


def _drop_patches(
    batch: Batch, batches: Batches, spec: Spec, stretch: Stretch, step: int, number: int
) -> Batch:
    """`batch` with the patches drawn that the image tower sees of it, unless it sees all."""
    share = spec.train.patch_dropout
    if not share or step >= stretch.total_steps * (1 - spec.train.whole_images_share):
        return batch
    chance = generator(spec.seed, "patch dropout", batches.site, number)
    return replace(batch, kept_patches=visible_patches(spec, len(batch), share, chance))


@contextmanager
def _lying_on(model: nn.Module, device: torch.device) -> Iterator[None]:
    """`model` on `device` until the block ends, and on the CPU, where it is, afterwards."""
    if device.type == "cpu":
        yield
        return
    try:
        model.to(device)
        yield
    finally:
        model.to("cpu")


def _is_due(taken: int, steps: int, every: int) -> bool:
    return bool(every) and (taken % every == 0 or taken == steps)


def _blamed(model: VLPModel, seen: list[tuple[Batch, int]], found: list[dict[str, Loss]], plan: Plan) -> str:
    """Which loss is not finite, or else which objective's gradient; found by working it off once more."""
    for losses in found:
        bad = [name for name, loss in losses.items() if not bool(torch.isfinite(loss.mean))]
        if bad:
            return f"the loss of {', '.join(bad)}"
    for batch, seed in seen:
        for name in model.weights:
            model.zero_grad(set_to_none=True)
            with made_on(batch.images.device):
                backpropagate(model, batch, plan, seed=seed, names=(name,))
            plan.peers.add_gradients(model)
            gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
            if not all(bool(torch.isfinite(gradient).all()) for gradient in gradients):
                return f"a gradient of {name}"
    return "the sum of the gradients"


def _not_finite(cause: str, step: int) -> ConfigurationError:
    said = f"training stopped at step {step}: {cause} is not finite"
    return ConfigurationError(
        f"{said}; the last good weights are kept; lower train.learning_rate or use train.precision = 'fp32'",
        outward=said,
    )
