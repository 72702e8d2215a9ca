"""Every arm at every epsilon with every seed.

OUT/seed-N/project/                    tokenizer and spec
OUT/seed-N/start.safetensors           the public start
OUT/seed-N/start.parquet               how it answers
OUT/seed-N/ARM/epsilon-E.parquet       how the arm's model does
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from common.evaluation.zero_shot import ZeroShotTask
from common.files import whole_path
from common.spec.run import Spec
from common.store import Store
from server.evaluation import Evaluator
from simulations.ablation.answers import read_answers, write_answers
from simulations.privacy_study.plan import StudyPlan
from simulations.privacy_study.training import Cohort, learn_from_bank, train_arm
from simulations.study_project import study_project

Answers = dict[tuple[str, float], list[tuple[ZeroShotTask, ...]]]
"""(arm, epsilon) -> per seed the questions; arm "" is the public start."""
START = ("", 0.0)


def run_study(
    plan: StudyPlan,
    specs: Mapping[str, Spec],
    *,
    sites: Mapping[str, Path],
    bank: Path,
    out: Path,
    on_done: Callable[[str], None] = lambda _: None,
) -> Answers:
    """Train what `out` does not hold yet, and read everything.

    Args:
        plan: of the study.
        specs: of its arms.
        sites: name -> store.
        bank: store of the public bank.
        out: goes on where it was stopped.
        on_done: told the name of each model that is there.

    Raises:
        FederationError: as the stages say; what is finished stays.
    """
    found: Answers = {}
    for seed in plan.seeds:
        seeded = {name: spec.model_copy(update={"seed": seed}) for name, spec in specs.items()}
        folder = out / f"seed-{seed}"
        cohort = _open(folder / "project", seeded[plan.reference], sites, bank)
        evaluator = Evaluator(cohort.project, dict(sites))
        start = _start(folder / "start.safetensors", cohort, plan, seeded[plan.reference])
        for name, epsilon in (START, *plan.cells()):
            path = folder / (f"{name}/epsilon-{epsilon:g}.parquet" if name else "start.parquet")
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                if name:
                    model = train_arm(cohort, plan, plan.variants[name], seeded[name], start, epsilon)
                else:
                    model = cohort.project.fresh_model()
                    model.load_state_dict(start)
                write_answers(path, evaluator.answers_of(model))
            found.setdefault((name, epsilon), []).append(read_answers(path))
            on_done(f"seed {seed}, {name or 'public start'}, epsilon {epsilon:g}")
    return found


def count_patients(sites: Mapping[str, Path]) -> int:
    """Patients with training rows, at all of `sites` together."""
    stores = [Store(path) for path in sites.values()]
    return sum(len(set(store.column("patient")[store.rows("train")])) for store in stores)


def _start(path: Path, cohort: Cohort, plan: StudyPlan, spec: Spec) -> dict[str, Tensor]:
    """The public start, learned once: a study goes on from the weights that its other cells began with."""
    if not path.exists():
        with whole_path(path) as unfinished:
            start = learn_from_bank(cohort, plan, spec)
            save_file({name: tensor.contiguous().clone() for name, tensor in start.items()}, unfinished)
    return load_file(path)


def _open(folder: Path, spec: Spec, sites: Mapping[str, Path], bank: Path) -> Cohort:
    public = Store(bank)
    project = study_project(folder, spec, sites=sites, bank=public)
    return Cohort(project, {name: Store(path) for name, path in sites.items()}, public)
