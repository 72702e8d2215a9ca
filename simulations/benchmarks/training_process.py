"""One party of the training benchmark in a process of its own: it trains when it is told to on stdin.

A line of JSON asks (`steps`, or `exactness`), a line of JSON answers; the first line is the order to build.
"""

import contextlib
import json
import resource
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

from simulations.benchmarks.fresh import peak_bytes
from simulations.benchmarks.training_parties import Party, Setting, Shape, build_party


def main() -> None:
    """Serve until stdin ends; stdout is for answers alone."""
    answers = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        order = json.loads(sys.stdin.readline())
        sys.path[:0] = order["packages"]
        party = build_party(order["party"], Shape(**order["shape"]), Setting(**order["setting"]))
        parameters = sum(weight.numel() for weight in party.model.parameters())
        print(json.dumps({"parameters": parameters}), file=answers, flush=True)
        for line in sys.stdin:
            asked = json.loads(line)
            said = exactness(party) if "exactness" in asked else take(party, asked["steps"])
            print(json.dumps(said), file=answers, flush=True)


def take(party: Party, steps: int) -> dict[str, float]:
    """Train for `steps` steps; what they took, and the largest resident set of the process so far."""
    wall, cpu = time.perf_counter(), _cpu_seconds()
    for _ in range(steps):
        party.step()
    return {
        "wall_seconds": time.perf_counter() - wall,
        "cpu_seconds": _cpu_seconds() - cpu,
        "peak_bytes": peak_bytes(),
    }


def exactness(party: Party) -> dict[str, float]:
    """How far the gradient of the chunks is from that of the whole batch: relative, in float32."""
    assert party.full_step is not None
    party.model.train()
    chunked, whole = (_gradients(party, step) for step in (party.step, party.full_step))
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
