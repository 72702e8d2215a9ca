"""One party of the training benchmark in a process of its own: it trains when it is told to on stdin.

A line of JSON asks (`steps`, `exactness` or a course), a line answers; the first is the order to build.
"""

import contextlib
import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from simulations.benchmarks.fresh import peak_bytes
from simulations.benchmarks.training_learning import Course, learn
from simulations.benchmarks.training_parties import build_party
from simulations.benchmarks.training_party import (
    LEARNING_RATE,
    Pairs,
    Party,
    PartyName,
    Setting,
    Shape,
    made_up_pairs,
)


def main() -> None:
    """Serve until stdin ends; stdout is for answers alone."""
    answers = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        order = json.loads(sys.stdin.readline())
        sys.path[:0] = order["packages"]
        shape, setting = Shape(**order["shape"]), Setting(**order["setting"])
        party = build_party(order["party"], shape, setting)
        pairs = made_up_pairs(shape, shape.batch_size * setting.chunks, whole_reports=not setting.at_best)
        parameters = sum(weight.numel() for weight in party.model.parameters())
        print(json.dumps({"parameters": parameters}), file=answers, flush=True)
        for line in sys.stdin:
            print(
                json.dumps(_answer(json.loads(line), order["party"], party, pairs)), file=answers, flush=True
            )


def _answer(asked: dict[str, Any], name: PartyName, party: Party, pairs: Pairs) -> object:
    if "exactness" in asked:
        return exactness(party, pairs)
    if "project" in asked:
        stores = {site: Path(store) for site, store in asked["stores"].items()}
        course = Course(Path(asked["project"]), stores, steps=asked["steps"], every=asked["every"])
        lessons = learn(party, course, normalised=name != "ours", cpu_seconds=_cpu_seconds)
        return [asdict(lesson) for lesson in lessons]
    return take(party, pairs, asked["steps"])


def take(party: Party, pairs: Pairs, steps: int) -> dict[str, float]:
    """Train for `steps` steps; what they took, and the largest resident set of the process so far."""
    wall, cpu = time.perf_counter(), _cpu_seconds()
    for _ in range(steps):
        party.step(pairs, LEARNING_RATE)
    return {
        "wall_seconds": time.perf_counter() - wall,
        "cpu_seconds": _cpu_seconds() - cpu,
        "peak_bytes": peak_bytes(),
    }


def exactness(party: Party, pairs: Pairs) -> dict[str, float]:
    """How far the gradient of the chunks is from that of the whole batch: relative, in float32."""
    assert party.full_step is not None
    party.model.train()
    full = party.full_step
    chunked = _gradients(party, lambda: party.step(pairs, LEARNING_RATE))
    whole = _gradients(party, lambda: full(pairs))
    scale, true_scale = chunked.pop(-1), whole.pop(-1)
    error = torch.stack([(a - b).square().sum() for a, b in zip(chunked, whole, strict=True)]).sum().sqrt()
    size = torch.stack([b.square().sum() for b in whole]).sum().sqrt()
    return {
        "encoder_error": (error / size).item(),
        "temperature_factor": (scale / true_scale).item(),
    }


def _gradients(party: Party, step: Callable[[], None]) -> list[Tensor]:
    """Of every parameter, the temperature's last."""
    step()
    others = [w for w in party.model.parameters() if w is not party.log_scale and w.grad is not None]
    return [w.grad.detach().clone().double() for w in (*others, party.log_scale) if w.grad is not None]


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
