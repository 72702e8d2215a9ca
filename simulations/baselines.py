"""What a federation is measured against: one model on pooled data, and each hospital on its own.

Both run the very trainer that sites run, on batches of one size with as many anchors. A local model takes as
many optimiser steps as its site does; the central one as many as one site, or as all of them together.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path

from common.data.batches import Batches
from common.data.corpus import Corpus, pool, read_corpus
from common.project import Project, open_project, weights_of
from common.store import Split, Store
from common.training.trainer import train
from server.evaluation import Evaluator
from server.report.records import CurvePoint, ModelRecord, RoundRecord, RunRecord
from simulations.workers import WorkerPool

CENTRAL = "central"
CURVE_POINTS = 6
"""Times that a baseline is judged on its way."""


@dataclass(frozen=True)
class Baseline:
    """One model to train alone; `site` is None for the pooled one."""

    project: Path
    stores: Mapping[str, Path]
    bank: Path | None
    site: str | None
    steps: int
    """Optimiser steps."""

    @property
    def name(self) -> str:
        """How tables and charts call it."""
        return CENTRAL if self.site is None else f"local: {self.site}"


def train_baselines(
    baselines: list[Baseline], *, workers: int, on_done: Callable[[str], None]
) -> list[ModelRecord]:
    """Train all of them, `workers` at a time, and return them in the order given."""
    if workers == 1:
        return [_announce(train_baseline(baseline), on_done) for baseline in baselines]
    done: dict[str, ModelRecord] = {}
    with WorkerPool(workers) as processes:
        for future in as_completed([processes.submit(train_baseline, baseline) for baseline in baselines]):
            record = _announce(future.result(), on_done)
            done[record.name] = record
    return [done[baseline.name] for baseline in baselines]


def train_baseline(baseline: Baseline) -> ModelRecord:
    """Train one model from the project's fresh weights and judge it as the federated one is judged."""
    started = time.perf_counter()
    project = open_project(baseline.project)
    spec = project.spec
    steps = baseline.steps
    batches = _batches(baseline, project)
    evaluator = Evaluator(project, dict(baseline.stores))
    model = project.fresh_model()
    curve: list[CurvePoint] = []

    def look(step: int) -> None:
        if step in _milestones(steps):
            mean = evaluator.glance_at(model).evaluation.mean_auroc
            curve.append(CurvePoint(steps=step + 1, mean_auroc=mean))
            model.train()

    train(model, batches, spec, first_step=0, steps=steps, total_steps=steps, on_step=look)
    return ModelRecord(
        name=baseline.name,
        kind="central" if baseline.site is None else "local",
        site=baseline.site,
        final=evaluator.judge(weights_of(model)),
        curve=tuple(curve),
        seconds=time.perf_counter() - started,
    )


def federated_record(run: RunRecord, rounds: tuple[RoundRecord, ...], *, local_steps: int) -> ModelRecord:
    """The federated run in the same words."""
    curve = tuple(
        CurvePoint(steps=record.round * local_steps, mean_auroc=record.evaluation.mean_auroc)
        for record in rounds
        if record.evaluation.mean_auroc is not None
    )
    return ModelRecord(
        name="federated", kind="federated", final=run.final, curve=curve, seconds=run.seconds.total
    )


def _batches(baseline: Baseline, project: Project) -> Batches:
    preparation, reading = project.spec.preparation, project.reading

    def read(store: Store, split: Split | None) -> Corpus:
        return read_corpus(store, split, project.tokenizer, preparation=preparation, reading=reading)

    if baseline.site is None:
        private = pool([read(Store(folder), "train") for _, folder in sorted(baseline.stores.items())])
    else:
        private = read(Store(baseline.stores[baseline.site]), "train")
    bank = project.open_bank(baseline.bank)
    anchors = None if bank is None else read(bank, None)
    return Batches(project.spec, project.tokenizer, private, anchors, baseline.site or CENTRAL)


def _milestones(steps: int) -> set[int]:
    return {round(steps * point / CURVE_POINTS) - 1 for point in range(1, CURVE_POINTS + 1)}


def _announce(record: ModelRecord, on_done: Callable[[str], None]) -> ModelRecord:
    on_done(record.name)
    return record


def baselines_of(
    project: Path, stores: Mapping[str, Path], bank: Path | None, *, site_steps: int, central_steps: int
) -> Iterator[Baseline]:
    """The central model first, for it may take longest, then each hospital's own."""
    whole = {name: path.resolve() for name, path in stores.items()}
    yield Baseline(project.resolve(), whole, bank, None, central_steps)
    for site in sorted(stores):
        yield Baseline(project.resolve(), whole, bank, site, site_steps)
