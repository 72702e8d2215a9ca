"""What the runs of an ablation say: a figure for each variant, and its difference from the reference.

Patients and seeds are drawn anew together, the same for both sides of a difference, so that an interval
covers other patients and other seeds alike. Shapes: D draws, N rows, S seeds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from common.evaluation.metrics import Estimate, Floats, Integers, auroc
from common.evaluation.zero_shot import ZeroShotTask
from simulations.ablation.plan import AblationPlan
from simulations.ablation.running import Outcome

DRAWS = 2000
INTERVAL = (0.025, 0.975)


@dataclass(frozen=True)
class VariantVerdict:
    """One row of the table."""

    name: str
    about: str
    mean_auroc: Estimate
    """Over tasks, then seeds."""
    difference: Estimate
    """To the reference with the same seeds and patients; 0 without width for the reference itself."""
    tasks: dict[str, float]
    """Task -> AUROC, the mean over seeds."""
    percentile_rank: float
    """Of retrieval: the mean over hospitals, directions and seeds; 0.5 is chance."""
    by_seed: tuple[float, ...]
    """Mean AUROC with each seed."""

    @property
    def words(self) -> str:
        """What the interval of the difference allows to say."""
        if self.difference.low > 0:
            return "better"
        return "worse" if self.difference.high < 0 else "no difference shown"

    def to_json(self) -> dict[str, object]:
        """As it stands in `ablation.json`."""
        return {
            "variant": self.name,
            "about": self.about,
            "mean_auroc": self.mean_auroc.to_json(),
            "difference": self.difference.to_json(),
            "tasks": self.tasks,
            "percentile_rank": self.percentile_rank,
            "by_seed": list(self.by_seed),
            "says": self.words,
        }


def judge_ablation(plan: AblationPlan, outcomes: Sequence[Outcome]) -> list[VariantVerdict]:
    """The plan's variants in order; all draws are those of one seed, so that the same runs give the same."""
    by_variant = {name: [one for one in outcomes if one.variant == name] for name in plan.variants}
    resampling = Resampling.of(outcomes[0].tasks, seeds=len(plan.seeds), draws=DRAWS)
    draws = {name: resampling.means([one.tasks for one in runs]) for name, runs in by_variant.items()}
    values = {name: [_mean_auroc(one) for one in runs] for name, runs in by_variant.items()}
    reference = plan.reference
    return [
        VariantVerdict(
            name=name,
            about=plan.variants[name].about,
            mean_auroc=estimate_from(float(np.mean(values[name])), draws[name]),
            difference=estimate_from(
                float(np.mean(values[name]) - np.mean(values[reference])), draws[name] - draws[reference]
            ),
            tasks={
                task.name: float(np.mean([_auroc(one.tasks[place]) for one in runs]))
                for place, task in enumerate(runs[0].tasks)
            },
            percentile_rank=float(np.mean([_percentile_rank(one) for one in runs])),
            by_seed=tuple(values[name]),
        )
        for name, runs in by_variant.items()
    ]


@dataclass(frozen=True)
class Resampling:
    """D draws of patients and of seeds, the same for every variant."""

    counts: list[Integers]
    """Per task (D, N) how often each row counts."""
    seeds: Integers
    """(D, S) which seeds a draw has."""

    @classmethod
    def of(cls, tasks: Sequence[ZeroShotTask], *, seeds: int, draws: int) -> "Resampling":
        """Draw from the patients of `tasks`, each with all its rows in all tasks."""
        rng = np.random.default_rng(0)
        names, patient = np.unique(
            np.concatenate([task.patients for task in tasks]).astype(str), return_inverse=True
        )
        picks = rng.integers(len(names), size=(draws, len(names)))
        picks += len(names) * np.arange(draws)[:, None]
        often = np.bincount(picks.ravel(), minlength=draws * len(names)).reshape(draws, len(names))
        counts = often[:, patient]
        bounds = np.cumsum([len(task.scores) for task in tasks])[:-1]
        return cls(np.split(counts, bounds, axis=1), rng.integers(seeds, size=(draws, seeds)))

    def means(self, runs: Sequence[Sequence[ZeroShotTask]]) -> Floats:
        """(D,) mean AUROC over tasks and drawn seeds; nan where a draw leaves a task without a class.

        Args:
            runs: per seed its tasks, each with the same rows.
        """
        by_seed = np.stack(
            [
                np.mean(
                    [task.statistic()(counts) for task, counts in zip(tasks, self.counts, strict=True)],
                    axis=0,
                )
                for tasks in runs
            ]
        )
        drawn: Floats = np.take_along_axis(by_seed.T, self.seeds, axis=1).mean(axis=1)
        return drawn


def estimate_from(value: float, draws: npt.NDArray[np.float64]) -> Estimate:
    """`value` with the 95 % interval of the draws in which it is defined."""
    defined = draws[~np.isnan(draws)]
    if not len(defined):
        return Estimate(value)
    low, high = np.quantile(defined, INTERVAL)
    return Estimate(value, float(low), float(high))


def _mean_auroc(outcome: Outcome) -> float:
    return float(np.mean([_auroc(task) for task in outcome.tasks]))


def _auroc(task: ZeroShotTask) -> float:
    return auroc(task.scores, task.truth == 1)


def _percentile_rank(outcome: Outcome) -> float:
    ranks = [one.percentile_rank.value for one in outcome.run.final.retrieval]
    return float(np.mean(ranks)) if ranks else math.nan
