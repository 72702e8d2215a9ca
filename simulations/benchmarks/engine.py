"""How long the same small federation takes on our in-process engine and on Flower's Ray engine.

Each engine is the command that a researcher types, in a fresh process from start to exit: imports, project,
rounds, checkpoints, the exported model and the report are in both.
"""

import importlib.util
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import tomli_w

from common.errors import ConfigurationError
from common.spec.run import Spec
from server.report.records import RUN_FILE, read_run
from server.run import Engine
from simulations.benchmarks.fresh import run_fresh
from simulations.benchmarks.small_federation import small_spec, small_stores

COMMAND = "from simulations.cli import main; main()"


@dataclass(frozen=True)
class EngineTimes:
    """Wall seconds to the end, start-up included, and whether both engines ended in the same bits."""

    sites: int
    rounds: int
    local_steps: int
    parameters: int
    seconds_inprocess: float
    seconds_ray: float
    ratio_ray_over_inprocess: float
    round_seconds_inprocess: float
    """Of these, in rounds; the rest is start-up and conclusion."""
    round_seconds_ray: float
    weights_equal: bool
    weights_sha256: str
    """Of the in-process run."""

    def to_json(self) -> dict[str, object]:
        """As `--json` prints it."""
        return {"benchmark": "engine", **asdict(self)}


def time_engines(
    *,
    sites: int,
    rounds: int,
    local_steps: int,
    workers: int | None = None,
    on_stage: Callable[[str], None] = lambda _: None,
) -> EngineTimes:
    """Run the small federation on both engines, one after the other.

    Args:
        sites: hospitals, all of them in every round.
        rounds: of the federation.
        local_steps: optimiser steps of a site in a round.
        workers: of the in-process engine; None is what `fedvlp-sim run` takes. Ray always has one per core.
        on_stage: told what is about to run.

    Raises:
        ConfigurationError: Ray is not installed.
        WithheldError: one of the runs failed.
    """
    if importlib.util.find_spec("ray") is None:
        raise ConfigurationError("bench engine needs Ray: pip install 'fedvlp[ray]'")
    spec = small_spec(sites=sites, rounds=rounds, local_steps=local_steps)
    with tempfile.TemporaryDirectory(prefix="fedvlp-bench-") as name:
        folder = Path(name)
        stores = small_stores(folder / "stores", sites=sites)
        seconds: dict[Engine, float] = {}
        engines: tuple[Engine, ...] = ("inprocess", "ray")
        for engine in engines:
            on_stage(f"{engine}: {sites} sites x {rounds} rounds")
            ours = [] if workers is None or engine != "inprocess" else ["--workers", str(workers)]
            seconds[engine] = _run(folder, spec, stores, engine, ours)
        inprocess, ray = (read_run(folder / engine) for engine in engines)
    return EngineTimes(
        sites=sites,
        rounds=rounds,
        local_steps=local_steps,
        parameters=inprocess.parameters,
        seconds_inprocess=seconds["inprocess"],
        seconds_ray=seconds["ray"],
        ratio_ray_over_inprocess=seconds["ray"] / seconds["inprocess"],
        round_seconds_inprocess=inprocess.seconds.total,
        round_seconds_ray=ray.seconds.total,
        weights_equal=inprocess.weights_sha256 == ray.weights_sha256,
        weights_sha256=inprocess.weights_sha256,
    )


def _run(folder: Path, spec: Spec, stores: dict[str, Path], engine: Engine, options: list[str]) -> float:
    """Wall seconds of `fedvlp-sim run` in a fresh process; its `RUN_FILE` lies under `folder`/`engine`."""
    spec_file = folder / "spec.toml"
    spec_file.write_bytes(tomli_w.dumps(spec.model_dump(mode="json", exclude_none=True)).encode())
    sites = [word for name, store in stores.items() for word in ("--site", f"{name}={store}")]
    arguments = ["run", str(spec_file), *sites, "--engine", engine, "--out", str(folder / engine), *options]
    seconds = run_fresh(COMMAND, arguments, log=folder / f"{engine}.log")
    assert (folder / engine / RUN_FILE).exists()
    return seconds
