"""Local training against open_clip and plain transformers: pairs per second, memory, and exactness of chunks.

Each party trains in a fresh process of its own. They take their steps in turns, in changing order, so that
what else the machine does meets all of them alike. Seconds are the processor's; the clock's stand beside.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from common.errors import ConfigurationError, PeerError, WithheldError
from common.training.device import multiplies_bfloat16
from simulations.benchmarks.fresh import QUIET
from simulations.benchmarks.training_learning import Lesson, RealQuestions, prepare_course, seconds_until
from simulations.benchmarks.training_party import PARTIES, PartyName, Setting, Shape

PROGRAM = "from simulations.benchmarks.training_process import main; main()"

OPEN_CLIP = ("open_clip_torch==3.3.0", "timm==1.0.31", "ftfy==6.3.1", "regex", "wcwidth")
"""What the comparison needs and this project does not; installed without dependencies, beside ours."""

TORCHVISION = {"2.13": "0.28.0"}
"""The torchvision that belongs to each torch; any other is told to be missing."""


@dataclass(frozen=True)
class Speed:
    """One party's steps."""

    parameters: int
    pairs_per_cpu_second: float
    pairs_per_second: float
    peak_bytes: int


@dataclass(frozen=True)
class TrainingSpeeds:
    """What `bench training` found; a ratio above one says that we are faster."""

    batch_size: int
    threads: int
    turns: int
    bfloat16: bool
    """Whether each at its best computes in it; float32 otherwise."""
    load: float
    """Of the machine when it began: processes that ran or waited."""
    same_settings: dict[str, Speed]
    each_best: dict[str, Speed]
    ratio_same_settings: float
    """Ours over open_clip's pairs per processor second, the median over turns."""
    ratio_each_best: float
    ratio_same_settings_transformers: float
    ratio_each_best_transformers: float
    ratio_same_settings_wall: float
    ratio_each_best_wall: float
    effective_batch: int
    chunk: dict[str, dict[str, float]]
    """Party -> relative error of the encoders' gradient, factor on the temperature's, seconds of a step."""
    ratio_effective_batch: float
    learning: dict[str, list[Lesson]] | None = None
    """Party -> where it stood on real images, after so many steps; None where no store was given."""
    auroc: float | None = None
    """The mean zero-shot AUROC that was to be reached."""
    seconds_to_auroc: dict[str, float | None] | None = None
    """Party -> processor seconds of training until then; null if it never was."""

    def to_json(self) -> dict[str, object]:
        """As `--json` prints it."""
        return {"benchmark": "training", **asdict(self)}


def time_training(
    *,
    shape: Shape,
    turns: int = 4,
    steps: int = 1,
    threads: int = 1,
    compiled: bool = False,
    precision: Literal["auto", "fp32"] = "auto",
    effective_batch: int = 512,
    packages: Path | None = None,
    real: RealQuestions | None = None,
    on_stage: Callable[[str], None] = lambda _: None,
) -> TrainingSpeeds:
    """Measure all parties.

    Args:
        shape: of the model and the batch.
        turns: of each party in each setting; every party takes one more, which is not counted.
        steps: in a turn.
        threads: of each party.
        compiled: whether all of them go through `torch.compile` where each is at its best.
        precision: of all of them at their best; `auto`: bfloat16 where the hardware multiplies it.
        effective_batch: pairs whose gradient is found in chunks of `shape.batch_size`.
        packages: folder that holds open_clip; None installs it into a folder that is gone afterwards.
        real: stores to learn from until questions are answered; None leaves that out.
        on_stage: told what is about to run.

    Raises:
        ConfigurationError: `effective_batch` is no multiple of the batch size.
        PeerError: open_clip could not be installed.
        WithheldError: one of the processes failed.
    """
    if effective_batch % shape.batch_size or effective_batch <= shape.batch_size:
        raise ConfigurationError(
            f"--effective-batch {effective_batch} is no multiple of --batch-size {shape.batch_size}"
        )
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="fedvlp-bench-") as name:
        folder = Path(name)
        if packages is None:
            on_stage("installing open_clip beside this project")
            packages = install_open_clip(folder / "packages")
        plain = Setting(threads=threads)
        best = replace(plain, at_best=True, compiled=compiled, precision=precision)
        on_stage("same settings")
        same = _race(PARTIES, shape, plain, packages, folder, turns=turns, steps=steps)
        on_stage("each at its best")
        each = _race(PARTIES, shape, best, packages, folder, turns=turns, steps=steps)
        on_stage(f"a batch of {effective_batch} in chunks of {shape.batch_size}")
        chunk = _chunks(shape, replace(plain, chunks=effective_batch // shape.batch_size), packages, folder)
        learning: dict[str, list[Lesson]] | None = None
        if real is not None:
            on_stage("until real images are told apart")
            learning = _learn(real, best, packages, folder)
    return TrainingSpeeds(
        batch_size=shape.batch_size,
        threads=threads,
        turns=turns,
        bfloat16=precision == "auto" and multiplies_bfloat16(torch.device("cpu")),
        load=load,
        same_settings=same.speeds,
        each_best=each.speeds,
        ratio_same_settings=same.ratio("open_clip", "cpu_seconds"),
        ratio_each_best=each.ratio("open_clip", "cpu_seconds"),
        ratio_same_settings_transformers=same.ratio("transformers", "cpu_seconds"),
        ratio_each_best_transformers=each.ratio("transformers", "cpu_seconds"),
        ratio_same_settings_wall=same.ratio("open_clip", "wall_seconds"),
        ratio_each_best_wall=each.ratio("open_clip", "wall_seconds"),
        effective_batch=effective_batch,
        chunk=chunk,
        ratio_effective_batch=chunk["open_clip"]["cpu_seconds"] / chunk["ours"]["cpu_seconds"],
        learning=learning,
        auroc=None if real is None else real.auroc,
        seconds_to_auroc=None
        if real is None or learning is None
        else {name: seconds_until(lessons, real.auroc) for name, lessons in learning.items()},
    )


@dataclass(frozen=True)
class Race:
    """Every party's turns, in one setting."""

    speeds: dict[str, Speed]
    taken: dict[str, list[dict[str, float]]]

    def ratio(self, other: PartyName, seconds: str) -> float:
        """How many times as long as ours a turn of `other` takes; the median over turns, each beside ours."""
        pairs = zip(self.taken[other], self.taken["ours"], strict=True)
        return statistics.median(theirs[seconds] / ours[seconds] for theirs, ours in pairs)


def install_open_clip(folder: Path) -> Path:
    """Install open_clip and what it needs of others into `folder`, and return it.

    Raises:
        ConfigurationError: no torchvision is known for this torch.
        PeerError: the package index cannot be reached, or does not have it.
    """
    version = ".".join(torch.__version__.split(".")[:2])
    if version not in TORCHVISION:
        raise ConfigurationError(f"bench training knows no torchvision for torch {version}; use torch 2.13")
    wanted = [*OPEN_CLIP, f"torchvision=={TORCHVISION[version]}"]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "-q",
            "--no-deps",
            "--no-compile",
            "--target",
            folder,
            *wanted,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if "ERROR" in line] or ["pip said nothing"]
        raise PeerError(
            f"open_clip could not be installed ({said[-1].strip()}); connect to a package index, or give a "
            "folder that holds it with --packages"
        )
    return folder


def _race(
    names: tuple[PartyName, ...],
    shape: Shape,
    setting: Setting,
    packages: Path,
    folder: Path,
    *,
    turns: int,
    steps: int,
) -> Race:
    with ExitStack() as running:
        parties: dict[str, _Running] = {
            name: running.enter_context(_party(name, shape, setting, packages, folder)) for name in names
        }
        taken: dict[str, list[dict[str, float]]] = {name: [] for name in names}
        for turn in range(turns + 1):
            for name in names if turn % 2 else reversed(names):
                said = parties[name].ask(steps=steps)
                if turn:
                    taken[name].append(said)
        speeds: dict[str, Speed] = {}
        for who, each in taken.items():
            pairs = turns * steps * shape.batch_size
            speeds[who] = Speed(
                parameters=parties[who].parameters,
                pairs_per_cpu_second=pairs / sum(said["cpu_seconds"] for said in each),
                pairs_per_second=pairs / sum(said["wall_seconds"] for said in each),
                peak_bytes=int(each[-1]["peak_bytes"]),
            )
    return Race(speeds, taken)


def _chunks(shape: Shape, setting: Setting, packages: Path, folder: Path) -> dict[str, dict[str, float]]:
    """Gradient caching against open_clip's accumulation: a step of each, twice, then their exactness."""
    found: dict[str, dict[str, float]] = {}
    names: tuple[PartyName, ...] = ("ours", "open_clip")
    race = _race(names, shape, setting, packages, folder, turns=2, steps=1)
    for name in names:
        with _party(name, shape, setting, packages, folder) as party:
            found[name] = party.ask(exactness=True)
        found[name]["cpu_seconds"] = statistics.median(said["cpu_seconds"] for said in race.taken[name])
        found[name]["peak_bytes"] = race.speeds[name].peak_bytes
    return found


def _learn(real: RealQuestions, setting: Setting, packages: Path, folder: Path) -> dict[str, list[Lesson]]:
    """Every party's course, one after the other."""
    course, shape = prepare_course(folder / "project", real)
    found: dict[str, list[Lesson]] = {}
    for name in PARTIES:
        with _party(name, shape, setting, packages, folder) as party:
            said = party.ask(
                project=str(course.project.resolve()),
                stores={site: str(store.resolve()) for site, store in course.stores.items()},
                steps=course.steps,
                every=course.every,
            )
        found[name] = [Lesson(**lesson) for lesson in said]
    return found


@dataclass
class _Running:
    """A party's process."""

    name: str
    process: "subprocess.Popen[str]"
    log: Path
    parameters: int = 0

    def ask(self, **order: object) -> Any:
        """Send an order and wait for the answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(order) + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            said = self.log.read_text(errors="replace").strip().splitlines() or ["nothing"]
            raise WithheldError(f"the process of {self.name} ended: {said[-1]}")
        return json.loads(answer)


@contextmanager
def _party(
    name: PartyName, shape: Shape, setting: Setting, packages: Path, folder: Path
) -> Iterator[_Running]:
    """The process of `name` until the block ends."""
    log = folder / f"{name}.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=sink,
            text=True,
            env={**os.environ, **QUIET, "OMP_NUM_THREADS": str(setting.threads)},
        )
        running = _Running(name, process, log)
        try:
            order = {"party": name, "shape": asdict(shape), "setting": asdict(setting)}
            beside = [str(packages)] if name == "open_clip" else []
            running.parameters = int(running.ask(**order, packages=beside)["parameters"])
            yield running
        finally:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdout.close()
            process.stdin.close()
            process.wait()
