"""The gradient of one batch: at once, chunk by chunk with the same result, or shared by several processes.

Gradient caching (Gao et al. 2021, arXiv:2101.06983) over all objectives at once. Objectives that couple the
rows of a batch see the views of all rows, made without a graph; what they answer for each view is kept, and
each chunk is encoded again and sent its part. Objectives that are means over rows are worked off in that
second pass. So every parameter gets the gradient of the whole batch, the temperature and the heads included,
while memory holds the graph of one chunk.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from common.data.batch import Batch
from common.model.encoders import Tokens
from common.model.vlp import VLPModel
from common.objectives.base import Loss, Views
from common.seeds import seed_chance
from common.training.peers import ALONE, Peers


@dataclass(frozen=True)
class Plan:
    """How gradients are found."""

    precision: Callable[[], AbstractContextManager[object]]
    chunk_rows: int | None = None
    """Rows that the towers see at a time; None for all."""
    peers: Peers = ALONE


@dataclass(frozen=True)
class _Chunk:
    """Some rows of a batch."""

    batch: Batch
    seed: int
    """Of what towers and objectives draw in it, the same in both passes."""


def backpropagate(
    model: VLPModel,
    batch: Batch,
    plan: Plan,
    *,
    seed: int,
    share: float = 1.0,
    names: Collection[str] | None = None,
) -> dict[str, Loss]:
    """Add `share` of the gradient of `batch`'s total loss to every parameter; return the losses, detached.

    With peers, each adds the part that its own rows have in it; the sum over all of them is the gradient.

    Args:
        model: may hold gradients already.
        batch: the whole of it, also where several processes share it.
        plan: of the run.
        seed: of whatever towers and objectives draw.
        share: weight of this batch among those that are added up.
        names: of the objectives; None for all.
    """
    batch = model.with_public(batch)
    if plan.chunk_rows is None and plan.peers.count == 1:
        seed_chance(seed)
        with plan.precision():
            found = model.losses(batch, names)
        if found:
            torch.autograd.backward(model.total(found) * share)
        return _detached(found)
    units = {name: n for name, n in model.units(batch).items() if names is None or name in names}
    coupled = tuple(name for name, count in units.items() if count is None)
    by_row = {name: count for name, count in units.items() if count}
    chunks = list(_chunks(batch, plan, seed))
    found, answers = _couple(model, batch, chunks, coupled, plan, seed=seed, share=share)
    parts = [
        _work_off(model, chunk, coupled, by_row, answer, plan, share=share)
        for chunk, answer in zip(chunks, answers, strict=True)
    ]
    return found | plan.peers.add_losses({name: _sum(name, parts) for name in by_row})


def _chunks(batch: Batch, plan: Plan, seed: int) -> Iterator[_Chunk]:
    """This process's rows of `batch`, `chunk_rows` at a time; the last chunk may be smaller."""
    first, last = plan.peers.share_of(len(batch))
    size = plan.chunk_rows or max(1, last - first)
    for start in range(first, last, size):
        yield _Chunk(batch.part(start, min(start + size, last)), seed + start)


def _couple(
    model: VLPModel,
    batch: Batch,
    chunks: list[_Chunk],
    names: tuple[str, ...],
    plan: Plan,
    *,
    seed: int,
    share: float,
) -> tuple[dict[str, Loss], list[list[Tensor | None]]]:
    """The losses of the objectives that see all rows at once, and what they answer for each chunk's views.

    The gradient of their own parameters is added on the way, by the first process alone.
    """
    nothing: list[list[Tensor | None]] = [[] for _ in chunks]
    if not names:
        return {}, nothing
    needs, whole = model.needs(names), model.reads_tokens(names)
    seen: list[Views] = []
    for chunk in chunks:
        seed_chance(chunk.seed)
        with torch.no_grad(), plan.precision():
            seen.append(_changed(model.views(chunk.batch, needs), Tensor.detach, whole=whole))
    views: Views = _changed(_joined(seen), lambda rows: _leaf(plan.peers.gather(rows)), whole=True)
    seed_chance(seed)
    with plan.precision():
        found = model.judge(views, batch, names)
    if not found:
        return {}, nothing
    leaves = _rows_of(views, whole=True)
    total = model.total(found) * share
    if plan.peers.rank == 0:
        torch.autograd.backward(total)
        answers = [leaf.grad for leaf in leaves]
    else:
        answers = list(torch.autograd.grad(total, leaves, allow_unused=True))
    sizes = [[len(rows) for rows in _rows_of(view, whole=True)] for view in seen]
    own = [
        None if answer is None else torch.split(plan.peers.own(answer, sum(counts)), counts)
        for answer, *counts in zip(answers, *sizes, strict=True)
    ]
    return _detached(found), [[None if part is None else part[i] for part in own] for i in range(len(chunks))]


def _work_off(
    model: VLPModel,
    chunk: _Chunk,
    coupled: tuple[str, ...],
    by_row: Mapping[str, int],
    answers: list[Tensor | None],
    plan: Plan,
    *,
    share: float,
) -> dict[str, Loss]:
    """Encode `chunk` with a graph, and send back what was answered and what its own rows cost.

    Returns:
        The losses of the objectives in `by_row`, each as its part of the mean over the whole batch.
    """
    needs = model.needs(coupled)
    seed_chance(chunk.seed)
    with plan.precision():
        views = model.views(chunk.batch, needs)
        rows = _rows_of(views, whole=model.reads_tokens(coupled)) if answers else []
        own = {name: count for name, count in model.units(chunk.batch).items() if count and name in by_row}
        more = model.needs(own) - needs
        if more:
            views = _either(views, model.views(chunk.batch, more))
        parts = {
            name: Loss(loss.mean * (own[name] / by_row[name]), loss.rows)
            for name, loss in model.judge(views, chunk.batch, own).items()
        }
    pairs = [(row, answer) for row, answer in zip(rows, answers, strict=True) if _wants(row, answer)]
    roots = [row for row, _ in pairs]
    gradients: list[Tensor | None] = [answer for _, answer in pairs]
    if parts:
        roots.append(model.total(parts) * share)
        gradients.append(None)
    if roots:
        torch.autograd.backward(roots, gradients)
    return _detached(parts)


def _wants(row: Tensor, answer: Tensor | None) -> bool:
    return row.requires_grad and answer is not None


def _detached(found: Mapping[str, Loss]) -> dict[str, Loss]:
    return {name: Loss(loss.mean.detach(), loss.rows) for name, loss in found.items()}


def _sum(name: str, parts: list[dict[str, Loss]]) -> Loss:
    known = [part[name] for part in parts if name in part]
    return Loss(sum((loss.mean for loss in known), start=torch.zeros(())), sum(loss.rows for loss in known))


def _leaf(rows: Tensor) -> Tensor:
    return rows.requires_grad_() if rows.is_floating_point() else rows


def _rows_of(views: Views, *, whole: bool) -> list[Tensor]:
    """The tensors of `views` that gradients flow through, in a fixed order; see `_changed`."""
    listed: list[Tensor] = []

    def note(rows: Tensor) -> Tensor:
        if rows.is_floating_point():
            listed.append(rows)
        return rows

    _changed(views, note, whole=whole)
    return listed


def _changed(value: Any, change: Callable[[Tensor], Tensor], *, whole: bool) -> Any:
    """`value` with every tensor of rows in it changed; parameters, which are shared by all rows, stay.

    Args:
        value: views, or a part of them.
        change: what becomes of a tensor.
        whole: False leaves out the tokens, of which there are many, and keeps what is pooled from them.
    """
    if isinstance(value, Tokens) and not whole:
        value = Tokens(torch.empty(len(value.x), 0, dtype=torch.bool), value.mask[:, :0], value.pooled)
    if value is None or isinstance(value, nn.Parameter | nn.Module):
        return value
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        return {name: _changed(part, change, whole=whole) for name, part in value.items()}
    parts = {part.name: getattr(value, part.name) for part in fields(value)}
    return replace(value, **_changed(parts, change, whole=whole))


def _joined(values: list[Any]) -> Any:
    """The views of chunks, one below the other."""
    first = values[0]
    if first is None or isinstance(first, nn.Parameter | nn.Module):
        return first
    if isinstance(first, Tensor):
        return torch.cat(values)
    if isinstance(first, dict):
        return {name: _joined([value[name] for value in values]) for name in first}
    return replace(
        first, **{p.name: _joined([getattr(value, p.name) for value in values]) for p in fields(first)}
    )


def _either(first: Views, second: Views) -> Views:
    """The views of both; what both hold is taken from the first."""
    held = {part.name: getattr(first, part.name) for part in fields(first)}
    return replace(second, **{name: value for name, value in held.items() if value is not None})
