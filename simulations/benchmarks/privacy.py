"""What privacy costs in speed and memory, against training without it and against Opacus, in one run.

Each way is a fresh process; CPU seconds of one step and the peak above the process before its first step.
Opacus' two ways take fp32 Gaussian noise from torch's own generator: less than ours does, and it counts as
theirs.
"""

import importlib.util
import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from common.errors import ConfigurationError
from simulations.benchmarks.fresh import run_fresh

PROGRAM = "from simulations.benchmarks.privacy_process import main; main()"
SHIPPED = ("not private", "G, groups of 8", "R, patient by patient")
STACK = ("stack, not private", "stack, R", "stack, Opacus hooks", "stack, Opacus ghost")
PAIRS = 64


@dataclass(frozen=True)
class Cost:
    """One way to train."""

    way: str
    pairs_per_second: float
    """Per CPU second."""
    bytes_above_start: int
    """Peak above the process as it was ready for its first step."""
    speed_ratio: float
    """Pairs a second over those of the same model without privacy."""
    memory_ratio: float
    """Peak of the whole process over that of the same model without privacy."""


@dataclass(frozen=True)
class PrivacyCosts:
    """All ways, the model of each first without privacy."""

    steps: int
    costs: tuple[Cost, ...]

    def of(self, way: str) -> Cost:
        """The cost of one way."""
        return next(cost for cost in self.costs if cost.way == way)

    def to_json(self) -> dict[str, object]:
        """As `--json` prints it."""
        return {"benchmark": "privacy", "steps": self.steps, "costs": [asdict(cost) for cost in self.costs]}


def measure_privacy(*, steps: int, on_stage: Callable[[str], None] = lambda _: None) -> PrivacyCosts:
    """Measure every way, one after the other.

    Raises:
        ConfigurationError: Opacus is not installed.
        WithheldError: one of the processes failed.
    """
    if importlib.util.find_spec("opacus") is None:
        raise ConfigurationError("bench privacy needs Opacus: pip install 'fedvlp[opacus]'")
    costs: list[Cost] = []
    with tempfile.TemporaryDirectory(prefix="fedvlp-bench-") as name:
        for ways in (SHIPPED, STACK):
            measured = {way: _measure(Path(name), way, steps, on_stage) for way in ways}
            plain = measured[ways[0]]
            costs += [
                Cost(
                    way=way,
                    pairs_per_second=PAIRS / found["seconds"],
                    bytes_above_start=int(found["bytes"] - found["base"]),
                    speed_ratio=plain["seconds"] / found["seconds"],
                    memory_ratio=found["bytes"] / plain["bytes"],
                )
                for way, found in measured.items()
            ]
    return PrivacyCosts(steps, tuple(costs))


def _measure(folder: Path, way: str, steps: int, on_stage: Callable[[str], None]) -> dict[str, float]:
    on_stage(way)
    result = folder / f"{way}.json"
    run_fresh(PROGRAM, [way, str(steps), str(result)], log=folder / f"{way}.log")
    found: dict[str, float] = json.loads(result.read_text())
    return found
