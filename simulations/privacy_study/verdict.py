"""What the answers of a study say: a figure for every arm at every epsilon. Shapes: D draws, S seeds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from common.evaluation.metrics import Estimate, Floats, auroc
from common.evaluation.zero_shot import ZeroShotTask
from simulations.ablation.verdict import DRAWS, Resampling, estimate_from
from simulations.privacy_study.plan import StudyPlan
from simulations.privacy_study.running import START, Answers


@dataclass(frozen=True)
class Cell:
    """One arm at one epsilon."""

    arm: str
    epsilon: float
    mean_auroc: Estimate
    gain: Estimate
    """AUROC above that of the public start."""
    kept: Estimate
    """The gain as a share of what training without privacy gains."""


def judge_study(plan: StudyPlan, answers: Answers) -> list[Cell]:
    """All cells, the public start first; intervals cover other patients and other seeds."""
    resampling = Resampling.of(answers[START][0], seeds=len(plan.seeds), draws=DRAWS)
    draws = {key: resampling.means(runs) for key, runs in answers.items()}
    values = {key: float(np.mean([_mean(tasks) for tasks in runs])) for key, runs in answers.items()}
    gain = values[plan.reference, math.inf] - values[START]
    gains = draws[plan.reference, math.inf] - draws[START]
    return [
        Cell(
            *key,
            estimate_from(values[key], draws[key]),
            estimate_from(values[key] - values[START], draws[key] - draws[START]),
            estimate_from(
                float(_share(np.array([values[key] - values[START]]), np.array([gain]))[0]),
                _share(draws[key] - draws[START], gains),
            ),
        )
        for key in answers
    ]


def _mean(tasks: Sequence[ZeroShotTask]) -> float:
    return float(np.mean([auroc(task.scores, task.truth == 1) for task in tasks]))


def _share(part: Floats, whole: Floats) -> Floats:
    """Element by element; nan where there is no whole."""
    share: Floats = np.divide(part, whole, out=np.full_like(part, math.nan), where=whole != 0)
    return share
