"""A study on paper: a table in Markdown and CSV, and AUROC against epsilon in SVG.

OUT/privacy.md, privacy.csv, privacy.svg. Shapes: D draws, S seeds.
"""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from common.evaluation.metrics import Estimate, Floats, auroc
from common.evaluation.zero_shot import ZeroShotTask
from common.files import write_whole
from server.report.wording import counted
from simulations.ablation.verdict import DRAWS, Resampling, estimate_from
from simulations.privacy_study.plan import StudyPlan
from simulations.privacy_study.running import START, Answers

COLOURS = ("#0b5cad", "#b84a00", "#2d7d46", "#7a3e9d", "#8a6d00", "#a3195b", "#3d6b75", "#5b6770")
INK, MUTED, GRID = "#1f2933", "#5b6770", "#e3e7eb"
WIDTH, HEIGHT, LEFT, TOP, KEY = 460, 280, 60, 60, 330
"""Pixels: of the plot, its place, and the width of its key."""


@dataclass(frozen=True)
class Cell:
    """One arm at one epsilon."""

    arm: str
    epsilon: float
    mean_auroc: Estimate
    kept: Estimate
    """Gain over the public start as a share of what training without privacy gains."""


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
            estimate_from(
                float(_share(np.array([values[key] - values[START]]), np.array([gain]))[0]),
                _share(draws[key] - draws[START], gains),
            ),
        )
        for key in answers
    ]


def write_pages(out: Path, plan: StudyPlan, cells: Sequence[Cell]) -> None:
    """Write all three files to `out`."""
    pages = {
        "privacy.md": markdown(plan, cells),
        "privacy.csv": comma_separated(cells),
        "privacy.svg": chart(plan, cells),
    }
    for name, text in pages.items():
        write_whole(out / name, text.encode())


def markdown(plan: StudyPlan, cells: Sequence[Cell]) -> str:
    """A table to read."""
    lines = [
        "# Zero-shot AUROC against epsilon",
        "",
        f"Held-out patients, {counted(len(plan.seeds), 'seed', 'seeds')}; 95 % intervals over patients and "
        f"seeds. Epsilon at delta {plan.delta:g} is for a patient of one hospital, add-or-remove, over all "
        f"{plan.steps} steps. Kept: the gain over the public start as a share of the gain of "
        f"`{plan.reference}`. Epsilon inf clips and adds no noise.",
        "",
        "| arm | what it is | epsilon | mean AUROC | kept |",
        "|---|---|---|---|---|",
    ]
    for cell in cells:
        about = plan.variants[cell.arm].about if cell.arm else "learned from the public bank alone"
        kept = f"{cell.kept.value:.0%} ({cell.kept.low:.0%} to {cell.kept.high:.0%})" if cell.arm else ""
        epsilon = f"{cell.epsilon:g}" if cell.arm and plan.variants[cell.arm].mechanism else ""
        lines.append(f"| {cell.arm or 'public start'} | {about} | {epsilon} | {cell.mean_auroc} | {kept} |")
    return "\n".join(lines) + "\n"


def comma_separated(cells: Sequence[Cell]) -> str:
    """A table to compute with."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["arm", "epsilon", "mean_auroc", "low", "high", "kept", "kept_low", "kept_high"])
    for cell in cells:
        figures = [end for one in (cell.mean_auroc, cell.kept) for end in (one.value, one.low, one.high)]
        epsilon = f"{cell.epsilon:g}" if cell.arm else ""
        writer.writerow([cell.arm or "public-start", epsilon, *(f"{figure:.4f}" for figure in figures)])
    return text.getvalue()


def chart(plan: StudyPlan, cells: Sequence[Cell]) -> str:
    """A line per arm that was tried at several epsilons, between the public start and the reference."""
    epsilons = sorted({*plan.epsilons, math.inf})
    arms = [name for name in plan.variants if len(plan.epsilons_of(name)) > 1]
    shown = [cell for cell in cells if cell.arm in (*arms, "", plan.reference)]
    low = min(cell.mean_auroc.value for cell in shown) - 0.02
    high = max(cell.mean_auroc.value for cell in shown) + 0.02

    def x(epsilon: float) -> float:
        return LEFT + WIDTH * (epsilons.index(epsilon) + 0.5) / len(epsilons)

    def y(value: float) -> float:
        return TOP + HEIGHT * (high - value) / (high - low)

    levels = {"public start": shown[0].mean_auroc.value}
    levels["not private"] = next(c.mean_auroc.value for c in cells if c.arm == plan.reference)
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + KEY}" height="{TOP + HEIGHT + 50}" '
        f'font-family="system-ui, sans-serif" font-size="13" fill="{INK}">',
        "<title>Zero-shot AUROC against epsilon</title>",
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="16" y="26" font-size="15" font-weight="600">Zero-shot AUROC against epsilon '
        f"(delta {plan.delta:g}, {counted(len(plan.seeds), 'seed', 'seeds')})</text>",
    ]
    for tick in np.arange(math.ceil(low * 20) / 20, high, 0.05):
        drawn.append(
            f'<line x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" stroke="{GRID}"/>'
            f'<text x="{LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end" fill="{MUTED}">{tick:.2f}</text>'
        )
    for epsilon in epsilons:
        words = "no noise" if math.isinf(epsilon) else f"{epsilon:g}"
        drawn.append(
            f'<text x="{x(epsilon):.1f}" y="{TOP + HEIGHT + 20}" text-anchor="middle" fill="{MUTED}">'
            f"{words}</text>"
        )
    for name, value in levels.items():
        drawn.append(
            f'<line x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="{INK}" '
            f'stroke-dasharray="5 4"/><text x="{LEFT + 4}" y="{y(value) - 5:.1f}" fill="{INK}">{name}</text>'
        )
    for number, arm in enumerate(arms):
        colour = COLOURS[number % len(COLOURS)]
        dots = sorted((c.epsilon, c.mean_auroc.value) for c in cells if c.arm == arm)
        line = " ".join(f"{x(epsilon):.1f},{y(value):.1f}" for epsilon, value in dots)
        drawn.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
        drawn += [f'<circle cx="{x(e):.1f}" cy="{y(v):.1f}" r="4" fill="{colour}"/>' for e, v in dots]
        place = TOP + 14 + 22 * number
        drawn.append(
            f'<rect x="{LEFT + WIDTH + 16}" y="{place - 9}" width="14" height="4" fill="{colour}"/>'
            f'<text x="{LEFT + WIDTH + 36}" y="{place - 2}">{escape(plan.variants[arm].about)}</text>'
        )
    return "\n".join([*drawn, "</svg>"]) + "\n"


def _mean(tasks: Sequence[ZeroShotTask]) -> float:
    return float(np.mean([auroc(task.scores, task.truth == 1) for task in tasks]))


def _share(part: Floats, whole: Floats) -> Floats:
    """Element by element; nan where there is no whole."""
    share: Floats = np.divide(part, whole, out=np.full_like(part, math.nan), where=whole != 0)
    return share
