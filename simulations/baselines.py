"""What a federation is measured against: one model on pooled data, and each hospital on its own.

Both run the very trainer that sites run. The central model takes as many optimiser steps as all sites
together, a local one as many as its site; every model sees as many anchors in a batch.
"""

import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from common.data.batches import Batches
from common.data.corpus import Corpus, pool, read_corpus
from common.project import Project, open_project, weights_of
from common.store import Store
from common.training.trainer import train
from server.evaluation import Evaluator
from server.report.records import CurvePoint, ModelRecord, RoundRecord, RunRecord

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
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as processes:
        for future in as_completed([processes.submit(train_baseline, baseline) for baseline in baselines]):
            record = _announce(future.result(), on_done)
            done[record.name] = record
    return [done[baseline.name] for baseline in baselines]


def train_baseline(baseline: Baseline) -> ModelRecord:
    """Train one model from the project's fresh weights and judge it as the federated one is judged."""
    started = time.perf_counter()
    project = open_project(baseline.project)
    spec = project.spec
    steps = spec.federation.rounds * spec.train.local_steps
    if baseline.site is None:
        steps *= len(baseline.stores)
    batches = _batches(baseline, project)
    evaluator = Evaluator(project, dict(baseline.stores))
    model = project.fresh_model()
    curve: list[CurvePoint] = []

    def look(step: int) -> None:
        if step in _milestones(steps):
            mean = evaluator.glance_at(model).evaluation.mean_auroc
            curve.append(CurvePoint(examples=(step + 1) * batches.private_rows, mean_auroc=mean))
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


def federated_record(run: RunRecord, rounds: tuple[RoundRecord, ...]) -> ModelRecord:
    """The federated run in the same words."""
    examples = 0
    curve = []
    for record in rounds:
        examples += sum(site.examples for site in record.sites)
        if record.evaluation.mean_auroc is not None:
            curve.append(CurvePoint(examples=examples, mean_auroc=record.evaluation.mean_auroc))
    return ModelRecord(
        name="federated", kind="federated", final=run.final, curve=tuple(curve), seconds=run.seconds.total
    )


def _batches(baseline: Baseline, project: Project) -> Batches:
    size = project.spec.model.image_size

    def read(folder: Path) -> Corpus:
        return read_corpus(Store(folder), "train", project.tokenizer, image_size=size)

    if baseline.site is None:
        private = pool([read(folder) for _, folder in sorted(baseline.stores.items())])
    else:
        private = read(baseline.stores[baseline.site])
    bank = project.open_bank(baseline.bank)
    anchors = None if bank is None else read_corpus(bank, None, project.tokenizer, image_size=size)
    return Batches(project.spec, project.tokenizer, private, anchors, baseline.site or CENTRAL)


def _milestones(steps: int) -> set[int]:
    return {round(steps * point / CURVE_POINTS) - 1 for point in range(1, CURVE_POINTS + 1)}


def _announce(record: ModelRecord, on_done: Callable[[str], None]) -> ModelRecord:
    on_done(record.name)
    return record


def baselines_of(project: Path, stores: Mapping[str, Path], bank: Path | None) -> Iterator[Baseline]:
    """The central model first, for it takes longest, then each hospital's own."""
    for site in (None, *sorted(stores)):
        yield Baseline(project.resolve(), {name: path.resolve() for name, path in stores.items()}, bank, site)
