"""Every variant with every seed: a federation each, and how its model answers every question.

OUT/VARIANT/seed-N/                  the run, see `server.run`
OUT/VARIANT/seed-N/answers.parquet   a row per question and held-out image; written last
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from common.errors import IntegrityError
from common.evaluation.zero_shot import ZeroShotTask
from common.project import open_project
from common.spec.run import Spec
from server.checkpoint import load_last_checkpoint
from server.evaluation import Evaluator
from server.report.records import RunRecord, read_run
from simulations.ablation.answers import ANSWERS_FILE, read_answers, write_answers
from simulations.ablation.plan import AblationPlan
from simulations.federation import Federation, run_federation


@dataclass(frozen=True)
class Outcome:
    """One variant with one seed."""

    variant: str
    seed: int
    run: RunRecord
    tasks: tuple[ZeroShotTask, ...]
    """Only what is labelled."""


def run_ablation(
    plan: AblationPlan,
    specs: Mapping[str, Spec],
    *,
    sites: Mapping[str, Path],
    bank: Path | None,
    out: Path,
    workers: int | None = None,
    on_done: Callable[[int, str], None] = lambda *_: None,
) -> list[Outcome]:
    """Run what `out` does not hold yet, all variants with one seed before the next, and read everything.

    Args:
        plan: of the experiment.
        specs: of its variants.
        sites: name -> store.
        bank: store of the public bank.
        out: goes on where it was stopped, in the middle of a run as well.
        workers: sites that train at once.
        on_done: told the number and the name of each run that is there.

    Raises:
        FederationError: as a run says; what is finished stays.
    """
    outcomes = []
    for number, (variant, seed) in enumerate(runs_of(plan), start=1):
        spec = specs[variant].model_copy(update={"seed": seed})
        federation = Federation(spec, sites, bank, out / variant / f"seed-{seed}")
        if not (federation.out / ANSWERS_FILE).exists():
            run_federation(federation, resume=federation.project_folder.exists(), workers=workers)
            _write_answers(federation)
        outcomes.append(_read(federation, variant))
        on_done(number, f"{variant}, seed {seed}")
    return outcomes


def runs_of(plan: AblationPlan) -> Iterator[tuple[str, int]]:
    """Variants with their seeds, in the order in which they run."""
    for seed in plan.seeds:
        for variant in plan.variants:
            yield variant, seed


def _write_answers(federation: Federation) -> None:
    project = open_project(federation.project_folder)
    settings = federation.settings(engine="inprocess", resume=True)
    state = load_last_checkpoint(settings.checkpoints, project)
    assert state is not None, "a run that ended has a checkpoint"
    judged = Evaluator(project, settings.evaluation_stores).answers(project.layout.unflatten(state.weights))
    write_answers(federation.out / ANSWERS_FILE, judged)


def _read(federation: Federation, variant: str) -> Outcome:
    run = read_run(federation.out)
    if run.spec_digest != federation.spec.digest():
        raise IntegrityError(f"{federation.out} holds a run of another spec; name another --out")
    return Outcome(variant, run.seed, run, read_answers(federation.out / ANSWERS_FILE))
