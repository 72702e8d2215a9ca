"""A pooled study on paper: OUT/pooled.md, a table to read, and OUT/pooled.csv, every figure of every seed."""

import csv
import io
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from common.files import write_whole
from simulations.pooled_study.plan import PooledPlan
from simulations.pooled_study.running import Found

LOOKED_INTO = (
    *("sibling cosine", "sibling rank", "prototypes and class"),
    *("rows with partners", "target on alike", "target on others"),
    *("cost of a piece", "with another's image", "gain by the image"),
)
"""Figures of the second table: of images, targets and guesses."""


def write_pages(out: Path, plan: PooledPlan, found: Found) -> None:
    """Write both."""
    write_whole(out / "pooled.md", markdown(plan, found).encode())
    write_whole(out / "pooled.csv", comma_separated(found).encode())


def markdown(plan: PooledPlan, found: Found) -> str:
    """Two tables with a line per variant and a column per figure that at least one has."""
    names = figure_names(found)
    asked = [name for name in names if name not in LOOKED_INTO]
    lines = [
        f"# {plan.base}: what variants learn from pooled rows",
        "",
        f"{plan.steps} steps each. A figure is the mean over the variant's seeds. Behind it: how much it is "
        f"above `{plan.reference}` with the same seeds, the least and the most of them.",
        "",
        *_table(plan, found, asked),
        "",
        *_table(plan, found, [name for name in names if name in LOOKED_INTO]),
    ]
    return "\n".join(lines) + "\n"


def _table(plan: PooledPlan, found: Found, figures: list[str]) -> Iterator[str]:
    yield "| variant | what it is | seeds | " + " | ".join(figures) + " |"
    yield "|---" * (len(figures) + 3) + "|"
    for name, runs in found.items():
        cells = [plan.variants[name].about, str(len(runs))]
        cells += [_cell(plan, found, name, figure) for figure in figures]
        yield f"| {name} | " + " | ".join(cells) + " |"


def comma_separated(found: Found) -> str:
    """A line per variant and seed."""
    text, names = io.StringIO(), figure_names(found)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["variant", "seed", *names])
    for name, runs in found.items():
        for seed, run in runs.items():
            writer.writerow([name, seed, *(_number(run.get(figure, math.nan)) for figure in names)])
    return text.getvalue()


def figure_names(found: Found) -> list[str]:
    """Every figure that some run has, in the order in which they come."""
    every = [run for runs in found.values() for run in runs.values()]
    return list(dict.fromkeys(name for run in every for name, value in run.items() if math.isfinite(value)))


def _cell(plan: PooledPlan, found: Found, name: str, figure: str) -> str:
    values = {seed: run.get(figure, math.nan) for seed, run in found[name].items()}
    if not all(map(math.isfinite, values.values())):
        return ""
    mean = _number(float(np.mean(list(values.values()))))
    gains = [value - found[plan.reference][seed].get(figure, math.nan) for seed, value in values.items()]
    if name == plan.reference or not all(map(math.isfinite, gains)):
        return mean
    return f"{mean} ({' to '.join(dict.fromkeys(f'{gain:+.3f}' for gain in (min(gains), max(gains))))})"


def _number(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else ""
