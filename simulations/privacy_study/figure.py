"""A study as one SVG: AUROC against epsilon, and beside it AUROC against the number of patients."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from common.evaluation.metrics import Estimate
from server.report.wording import counted
from simulations.privacy_study.goal import cohort_cells
from simulations.privacy_study.plan import StudyPlan
from simulations.privacy_study.verdict import Cell

COLOURS = ("#0b5cad", "#b84a00", "#2d7d46", "#7a3e9d", "#8a6d00", "#a3195b", "#3d6b75", "#5b6770")
INK, MUTED, GRID = "#1f2933", "#5b6770", "#e3e7eb"
WIDTH, HEIGHT, LEFT, TOP, GAP, KEY_LINE = 420, 280, 60, 60, 80, 22
"""Pixels: of a panel, its place, between two panels, of a line of the key."""
ROOM = 0.01
"""AUROC above and below what is shown."""


@dataclass(frozen=True)
class Panel:
    """Axes: places on the x axis stand for `ticks`, y for AUROC from `low` to `high`."""

    left: int
    ticks: Sequence[str]
    low: float
    high: float

    def x(self, place: int) -> float:
        """Of tick `place`."""
        return self.left + WIDTH * (place + 0.5) / len(self.ticks)

    def y(self, value: float) -> float:
        """Of an AUROC."""
        return TOP + HEIGHT * (self.high - value) / (self.high - self.low)

    def frame(self, title: str, levels: Mapping[str, float]) -> Iterator[str]:
        """Title, grid, ticks, and dashed lines at the named AUROCs."""
        yield f'<text x="{self.left}" y="{TOP - 14}" font-weight="600">{escape(title)}</text>'
        step = 0.05 if self.high - self.low > 0.15 else 0.02
        for value in np.arange(math.ceil(self.low / step) * step, self.high, step):
            yield (
                f'<line x1="{self.left}" x2="{self.left + WIDTH}" y1="{self.y(value):.1f}" '
                f'y2="{self.y(value):.1f}" stroke="{GRID}"/><text x="{self.left - 8}" '
                f'y="{self.y(value) + 4:.1f}" text-anchor="end" fill="{MUTED}">{value:.2f}</text>'
            )
        for place, words in enumerate(self.ticks):
            yield (
                f'<text x="{self.x(place):.1f}" y="{TOP + HEIGHT + 20}" text-anchor="middle" '
                f'fill="{MUTED}">{words}</text>'
            )
        for name, value in levels.items():
            yield (
                f'<line x1="{self.left}" x2="{self.left + WIDTH}" y1="{self.y(value):.1f}" '
                f'y2="{self.y(value):.1f}" stroke="{INK}" stroke-dasharray="5 4"/>'
                f'<text x="{self.left + 4}" y="{self.y(value) - 5:.1f}" fill="{INK}">{escape(name)}</text>'
            )

    def curve(self, points: Sequence[tuple[int, Estimate]], colour: str) -> Iterator[str]:
        """A line through (place, AUROC)."""
        dots = [(self.x(place), self.y(found.value)) for place, found in points]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in dots)
        yield f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2.5"/>'
        for x, y in dots:
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>'


def figure(plan: StudyPlan, cells: Sequence[Cell], patients: int) -> str:
    """Both panels over one key; `patients` train at all hospitals together."""
    arms = [name for name in plan.variants if len(plan.epsilons_of(name)) > 1]
    epsilons = sorted({each for name in arms for each in plan.epsilons_of(name)})
    start = cells[0].mean_auroc.value
    whole = next(cell.mean_auroc.value for cell in cells if cell.arm == plan.reference)
    cohorts = cohort_cells(plan, cells)
    shown = [start, whole, *(cell.mean_auroc.value for cell in cells if cell.arm in arms)]
    shown += [cell.mean_auroc.value for cell in cohorts]
    low, high = min(shown) - ROOM, max(shown) + 2 * ROOM
    by_epsilon = Panel(
        LEFT, ["no noise" if math.isinf(each) else f"{each:g}" for each in epsilons], low, high
    )
    sizes = [patients * plan.variants[name].cohort_times for name in plan.goal.cohorts]
    by_patients = Panel(LEFT + WIDTH + GAP, [f"{size:,}" for size in sizes], low, high)
    ends = {"public start": start, "not private": whole}
    goal = {f"{plan.goal.kept:.0%} of the gain": start + plan.goal.kept * (whole - start)}
    drawn = [
        *by_epsilon.frame("by epsilon", ends),
        *by_patients.frame(f"by patients, epsilon {plan.goal.epsilon:g}", ends | goal),
    ]
    for number, arm in enumerate(arms):
        colour = COLOURS[number % len(COLOURS)]
        points = [(epsilons.index(cell.epsilon), cell.mean_auroc) for cell in cells if cell.arm == arm]
        drawn += by_epsilon.curve(sorted(points, key=lambda point: point[0]), colour)
        if arm == plan.goal.cohorts[0]:
            drawn += by_patients.curve([(at, cell.mean_auroc) for at, cell in enumerate(cohorts)], colour)
        place = TOP + HEIGHT + 56 + KEY_LINE * number
        drawn.append(
            f'<rect x="{LEFT}" y="{place - 9}" width="14" height="4" fill="{colour}"/>'
            f'<text x="{LEFT + 22}" y="{place - 2}">{escape(plan.variants[arm].about)}</text>'
        )
    width, height = 2 * WIDTH + LEFT + GAP + 20, TOP + HEIGHT + 60 + KEY_LINE * len(arms)
    return (
        "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
                f'font-family="system-ui, sans-serif" font-size="13" fill="{INK}">',
                "<title>Zero-shot AUROC against epsilon and patients</title>",
                '<rect width="100%" height="100%" fill="white"/>',
                f'<text x="16" y="26" font-size="15" font-weight="600">Zero-shot AUROC under differential '
                f"privacy (delta {plan.delta:g}, {counted(len(plan.seeds), 'seed', 'seeds')})</text>",
                *drawn,
                "</svg>",
            ]
        )
        + "\n"
    )
