"""One run at the hub: its folder, the record of each round, and its conclusion.

OUT/project/       what the hospitals obey, see `common.project`
OUT/checkpoints/   the last states, see `server.checkpoint`
OUT/rounds.jsonl   a line per round
OUT/run.json       the whole run, written last
OUT/model/         the trained model for `transformers`
"""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from flwr.serverapp import Grid

from common.files import whole_folder, write_whole
from common.model_folder import write_model
from common.project import Project
from common.spec.privacy import PatientPrivacySpec
from common.store import Store
from server.aggregate import mean_losses
from server.checkpoint import GlobalState, fresh_global_state, last_record, load_last_checkpoint
from server.evaluation import Evaluator
from server.history import History, RoundClock, busy_seconds
from server.ledgers import LedgerHeads, statement_of
from server.report.records import RUN_FILE, CohortRound, RoundEvaluation, RoundRecord, RunRecord, Traffic
from server.rounds import MICROSECONDS, Collected
from server.settings import RunSettings, refuse_another_run


@dataclass
class Stopwatch:
    """Wall seconds since it was made, and of the named laps within."""

    started: float = field(default_factory=time.perf_counter)
    laps: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def lap(self, name: str) -> Iterator[None]:
        """Time a block."""
        began = time.perf_counter()
        yield
        self.laps[name] = time.perf_counter() - began

    def total(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self.started


def start_or_resume(
    settings: RunSettings, project: Project, evaluator: Evaluator
) -> tuple[GlobalState, History]:
    """The state to go on from: the last checkpoint's, or a fresh one in an empty folder.

    Raises:
        ConfigurationError: the folder holds a run already and resuming was not asked for.
        IntegrityError: the checkpoint is another project's, or damaged.
    """
    history = History(settings.out)
    if not settings.resume:
        refuse_another_run(settings)
    keep_project(settings)
    if not settings.resume:
        return fresh_global_state(project), history
    state = load_last_checkpoint(settings.checkpoints, project) or fresh_global_state(project)
    written = history.resume(state.round)
    if not written and (record := last_record(settings.checkpoints)) is not None:
        history.append(record.model_copy(update={"evaluation": evaluator.glance(state).evaluation}))
    return state, history


def keep_project(settings: RunSettings) -> None:
    """Copy the project into the run's folder, if it lies elsewhere: bundles are replaced, runs are not."""
    if settings.project.resolve() == settings.kept_project.resolve():
        return
    with whole_folder(settings.kept_project) as beside:
        shutil.copytree(settings.project, beside, copy_function=shutil.copyfile, dirs_exist_ok=True)


def record_round(
    grid: Grid,
    project: Project,
    state: GlobalState,
    collected: Collected,
    watch: Stopwatch,
    evaluation: RoundEvaluation | None = None,
) -> RoundRecord:
    """What the round that led to `state` did, so far: laps that are still to come take no time."""
    lanes = collected.sum.lanes
    parallel = getattr(grid, "parallel_sites", len(collected.sites))
    training = _seconds(collected, "training_microseconds")
    validation = _seconds(collected, "validation_microseconds")
    if isinstance(
        project.spec.privacy, PatientPrivacySpec
    ):  # sites withhold their times: all of it is training
        training, validation, parallel = [collected.seconds - collected.adding_seconds], [0.0], 1
    busy = busy_seconds([a + b for a, b in zip(training, validation, strict=True)], parallel)
    clock = RoundClock(
        exchange=collected.seconds,
        training=busy_seconds(training, parallel),
        validation=busy - busy_seconds(training, parallel),
        adding=collected.adding_seconds,
        applying=watch.laps["applying"],
        checkpoint=watch.laps.get("checkpoint", 0.0),
        evaluation=watch.laps.get("evaluation", 0.0),
        total=watch.total(),
    )
    coordinates = project.layout.num_coordinates * collected.contributors
    return RoundRecord(
        round=state.round,
        sites=collected.sites,
        cohort=CohortRound(
            examples=lanes["examples"],
            losses=dict(mean_losses(lanes, "training")),
            validation=dict(mean_losses(lanes, "validation")),
        ),
        evaluation=evaluation or RoundEvaluation(),
        seconds=clock.phases(),
        bytes=Traffic(up=collected.bytes_up, down=collected.bytes_down),
        update_norm=float(np.linalg.norm(collected.sum.mean)),
        clipped_share=lanes["clipped"] / coordinates,
    )


def _seconds(collected: Collected, lane: str) -> list[float]:
    """What each site spent; where only the sum is known, the mean stands for each."""
    if collected.lanes:
        return [lanes[lane] / MICROSECONDS for lanes in collected.lanes.values()]
    mean = collected.sum.lanes[lane] / MICROSECONDS / collected.contributors
    return [mean] * collected.contributors


def conclude(
    settings: RunSettings,
    project: Project,
    state: GlobalState,
    history: History,
    evaluator: Evaluator,
    ledgers: LedgerHeads,
    started: datetime,
) -> RunRecord:
    """Judge the final model in full, export it, and write the run's record last."""
    write_model(settings.out / "model", project, state.weights)
    stores = {name: Store(path) for name, path in settings.evaluation_stores.items()}
    record = RunRecord(
        name=project.spec.name,
        seed=project.spec.seed,
        engine=settings.engine,
        spec_digest=project.manifest.spec_sha256,
        started=started,
        rounds=project.spec.federation.rounds,
        parameters=project.layout.num_coordinates,
        sites=tuple(
            history.site_totals(
                project,
                stores.get(name),
                name,
                epsilon=ledgers.epsilon(name, project),
                epsilon_alone=ledgers.epsilon_alone(name, project),
            )
            for name in project.manifest.sites
        ),
        privacy=statement_of(project),
        final=evaluator.judge(project.layout.unflatten(state.weights)),
        seconds=history.seconds(),
        bytes=history.traffic(),
        overhead_share=history.overhead_share(),
        weights_sha256=project.layout.digest(state.weights),
    )
    write_whole(settings.out / RUN_FILE, record.model_dump_json(indent=2).encode() + b"\n")
    return record
