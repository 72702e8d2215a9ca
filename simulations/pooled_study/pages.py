"""A pooled study on paper: OUT/pooled.md, a table to read, and OUT/pooled.csv, every figure of every seed."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from common.files import write_whole
from server.report.wording import counted
from simulations.pooled_study.plan import PooledPlan
from simulations.pooled_study.running import Figures

Found = Mapping[str, Sequence[Figures]]


def write_pages(out: Path, plan: PooledPlan, found: Found) -> None:
    """Write both."""
    write_whole(out / "pooled.md", markdown(plan, found).encode())
    write_whole(out / "pooled.csv", comma_separated(plan, found).encode())


def markdown(plan: PooledPlan, found: Found) -> str:
    """A column per variant, a row per figure that at least one has: the mean over seeds, and each seed."""
    names = figure_names(found)
    lines = [
        f"# {plan.base}: what variants learn from pooled rows",
        "",
        f"{plan.steps} steps each, {counted(len(plan.seeds), 'seed', 'seeds')}. A figure is the mean over "
        f"seeds; behind it how much it is above that of `{plan.reference}` with the same seed, the least and "
        "the most.",
        "",
        "| variant | what it is | " + " | ".join(names) + " |",
        "|---" * (len(names) + 2) + "|",
    ]
    for name, runs in found.items():
        cells = [_cell(runs, found[plan.reference], figure) for figure in names]
        lines.append(f"| {name} | {plan.variants[name].about} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def comma_separated(plan: PooledPlan, found: Found) -> str:
    """A line per variant and seed."""
    text, names = io.StringIO(), figure_names(found)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["variant", "seed", *names])
    for name, runs in found.items():
        for seed, run in zip(plan.seeds, runs, strict=True):
            writer.writerow([name, seed, *(_number(run.get(figure, math.nan)) for figure in names)])
    return text.getvalue()


def figure_names(found: Found) -> list[str]:
    """Every figure that some run has, in the order in which they come."""
    return list(
        dict.fromkeys(
            name
            for runs in found.values()
            for run in runs
            for name, value in run.items()
            if math.isfinite(value)
        )
    )


def _cell(runs: Sequence[Figures], reference: Sequence[Figures], figure: str) -> str:
    values = [run.get(figure, math.nan) for run in runs]
    if not all(map(math.isfinite, values)):
        return ""
    gains = [value - other.get(figure, math.nan) for value, other in zip(values, reference, strict=True)]
    if runs is reference or not all(map(math.isfinite, gains)):
        return _number(float(np.mean(values)))
    return f"{_number(float(np.mean(values)))} ({min(gains):+.3f} to {max(gains):+.3f})"


def _number(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else ""
