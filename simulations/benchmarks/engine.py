"""How long the same small federation takes on our in-process engine and on Flower's Ray engine.

Each engine is the command that a researcher types, in a fresh process from start to exit: imports, project,
rounds, checkpoints, the exported model and the report are in both. A first run of each, of one round, is not
measured: it reads from disc what all others find in memory. The engines then take turns, and runs that are
neighbours are compared: a machine that others share is half as fast in one minute as in the next. The middle
one of these ratios counts; beside it stands that of the quickest runs, for which each engine had some luck.
"""

import importlib.util
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import tomli_w

from common.errors import ConfigurationError
from common.spec.run import Spec
from server.report.records import read_run
from server.settings import Engine
from simulations.benchmarks.fresh import run_fresh
from simulations.benchmarks.small_federation import small_spec, small_stores

COMMAND = "from simulations.__main__ import program; program()"
ENGINES: tuple[Engine, ...] = ("inprocess", "ray")


@dataclass(frozen=True)
class EngineRun:
    """One run of one engine, in wall seconds."""

    seconds: float
    """From start to exit."""
    start_seconds: float
    """Of these, until the hub begins with the rounds."""
    round_seconds: float
    """Of these, in rounds."""
    parameters: int
    weights_sha256: str

    @property
    def end_seconds(self) -> float:
        """Of these, the rest: what is written down between rounds, the final scores, model and report."""
        return self.seconds - self.start_seconds - self.round_seconds


@dataclass(frozen=True)
class EngineTimes:
    """Every measured run, and whether all ended in the same bits."""

    sites: int
    rounds: int
    local_steps: int
    inprocess: Sequence[EngineRun]
    ray: Sequence[EngineRun]

    @property
    def best(self) -> dict[Engine, EngineRun]:
        """The quickest run of each engine."""
        runs: dict[Engine, Sequence[EngineRun]] = {"inprocess": self.inprocess, "ray": self.ray}
        return {engine: min(those, key=lambda run: run.seconds) for engine, those in runs.items()}

    @property
    def ratios(self) -> list[float]:
        """How many times longer each run on Ray took than ours before it."""
        return [ray.seconds / ours.seconds for ours, ray in zip(self.inprocess, self.ray, strict=True)]

    @property
    def ratio(self) -> float:
        """Their median."""
        return median(self.ratios)

    @property
    def ratio_of_quickest(self) -> float:
        """How many times longer Ray takes, each engine at its quickest."""
        return self.best["ray"].seconds / self.best["inprocess"].seconds

    @property
    def weights_equal(self) -> bool:
        """Whether all runs of both engines ended in the same weights, bit for bit."""
        return len({run.weights_sha256 for run in (*self.inprocess, *self.ray)}) == 1

    def to_json(self) -> dict[str, object]:
        """As `--json` prints it."""
        phases = {
            f"{phase}_{engine}": getattr(run, phase)
            for engine, run in self.best.items()
            for phase in ("seconds", "start_seconds", "round_seconds", "end_seconds")
        }
        return {
            "benchmark": "engine",
            **asdict(self),
            **phases,
            "ratios": self.ratios,
            "ratio_ray_over_inprocess": self.ratio,
            "ratio_of_quickest": self.ratio_of_quickest,
            "weights_equal": self.weights_equal,
        }


def time_engines(
    *,
    sites: int,
    rounds: int,
    local_steps: int,
    repeats: int = 5,
    workers: int | None = None,
    on_stage: Callable[[str], None] = lambda _: None,
) -> EngineTimes:
    """Run the small federation on both engines in turn.

    Args:
        sites: hospitals, all of them in every round.
        rounds: of the federation.
        local_steps: optimiser steps of a site in a round.
        repeats: measured runs of each engine.
        workers: of the in-process engine; None is what `fedvlp-sim run` takes. Ray always has one per core.
        on_stage: told what is about to run.

    Raises:
        ConfigurationError: Ray is not installed.
        WithheldError: one of the runs failed.
    """
    if importlib.util.find_spec("ray") is None:
        raise ConfigurationError("bench engine needs Ray: pip install 'fedvlp[ray]'")
    runs: dict[Engine, list[EngineRun]] = {engine: [] for engine in ENGINES}
    options = {"inprocess": [] if workers is None else ["--workers", str(workers)], "ray": []}
    with tempfile.TemporaryDirectory(prefix="fedvlp-bench-") as name:
        folder = Path(name)
        stores = small_stores(folder / "stores", sites=sites)
        for engine in ENGINES:
            on_stage(f"{engine}: one round, not measured")
            first = small_spec(sites=sites, rounds=1, local_steps=local_steps)
            _run(folder / f"{engine}-first", first, stores, engine, options[engine])
        spec = small_spec(sites=sites, rounds=rounds, local_steps=local_steps)
        for repeat in range(1, repeats + 1):
            for engine in ENGINES:
                on_stage(f"{engine} {repeat}/{repeats}: {sites} sites x {rounds} rounds")
                out = folder / f"{engine}-{repeat}"
                runs[engine].append(_run(out, spec, stores, engine, options[engine]))
    return EngineTimes(sites, rounds, local_steps, inprocess=runs["inprocess"], ray=runs["ray"])


def _run(out: Path, spec: Spec, stores: dict[str, Path], engine: Engine, options: list[str]) -> EngineRun:
    """`fedvlp-sim run` in a fresh process, which writes to the folder `out` and beside it."""
    spec_file = out.with_suffix(".toml")
    spec_file.write_bytes(tomli_w.dumps(spec.model_dump(mode="json", exclude_none=True)).encode())
    sites = [word for name, store in stores.items() for word in ("--site", f"{name}={store}")]
    arguments = ["run", str(spec_file), *sites, "--engine", engine, "--out", str(out), *options]
    began = datetime.now(UTC)
    seconds = run_fresh(COMMAND, arguments, log=out.with_suffix(".log"))
    run = read_run(out)
    return EngineRun(
        seconds=seconds,
        start_seconds=(run.started - began).total_seconds(),
        round_seconds=run.seconds.total,
        parameters=run.parameters,
        weights_sha256=run.weights_sha256,
    )
