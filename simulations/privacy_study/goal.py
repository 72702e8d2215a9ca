"""Whether a study's goal is reached, and how many patients it would take: read off cohorts of many sizes."""

import math
from collections.abc import Sequence

from common.evaluation.metrics import Estimate
from simulations.privacy_study.plan import StudyPlan
from simulations.privacy_study.verdict import Cell


def cohort_cells(plan: StudyPlan, cells: Sequence[Cell]) -> list[Cell]:
    """The cells at the goal's epsilon of the arms that differ in their cohort, the smallest first."""
    found = {(cell.arm, cell.epsilon): cell for cell in cells}
    return [found[name, plan.goal.epsilon] for name in plan.goal.cohorts]


def patients_needed(patients: Sequence[int], kept: Sequence[float], goal: float) -> float:
    """From how many patients on the share that is kept stays above `goal`: straight lines over the logarithm.

    Args:
        patients: of each cohort, rising.
        kept: of each cohort.
        goal: a share.

    Returns:
        The size from which on it does; inf where the largest cohort is too small.
    """
    short = [place for place, share in enumerate(kept) if not share >= goal]
    if not short:
        return float(patients[0])
    last = short[-1]
    if last == len(kept) - 1:
        return math.inf
    part = (goal - kept[last]) / (kept[last + 1] - kept[last])
    low, high = math.log(patients[last]), math.log(patients[last + 1])
    return math.exp(low + part * (high - low))


def words_of_goal(plan: StudyPlan, cells: Sequence[Cell], patients: int) -> str:
    """The goal, whether the smallest cohort's arm reaches it, and how many patients it takes.

    One arm is judged, which the plan names before there are answers: the best of many is best by luck too.

    Args:
        plan: of the study.
        cells: all of them.
        patients: training patients of all hospitals together.
    """
    goal = plan.goal
    whole = next(cell.gain for cell in cells if cell.arm == plan.reference)
    if not whole.low > 0:
        return (
            f"Training without privacy shows no gain over the public start ({whole}), so there is nothing of "
            "which a share could be kept, and no number of patients to give."
        )
    curve = cohort_cells(plan, cells)
    own = curve[0]
    share = f"{own.kept.value:.0%} ({own.kept.low:.0%} to {own.kept.high:.0%})"
    said = (
        f"Goal: at epsilon {goal.epsilon:g}, keep {goal.kept:.0%} of the gain, which is {whole}. "
        f"`{own.arm}` keeps {share} of it with the {patients:,} patients that are there: "
        f"{_judged(own.kept, goal.kept)}."
    )
    sizes = [patients * plan.variants[name].cohort_times for name in goal.cohorts]
    points = ", ".join(f"{cell.kept.value:.0%} of {size:,}" for size, cell in zip(sizes, curve, strict=True))
    needed = patients_needed(sizes, [cell.kept.value for cell in curve], goal.kept)
    if math.isinf(needed):
        ends = f"{sizes[-1]:,} are too few, if any number is enough"
    elif needed == sizes[0]:
        ends = f"{sizes[0]:,} are enough"
    else:
        ends = f"about {float(f'{needed:.2g}'):,.0f} patients of all hospitals together would be needed"
    return (
        f"{said} With the noise of larger cohorts it keeps, by patients: {points}; by these figures, {ends}."
    )


def _judged(kept: Estimate, goal: float) -> str:
    """What the interval allows to say."""
    if kept.low >= goal:
        return "reached"
    return "not reached" if kept.high < goal else "not shown either way"
