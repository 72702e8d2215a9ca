"""A study on paper: a table in Markdown and CSV, and a figure in SVG.

OUT/privacy.md, privacy.csv, privacy.svg.
"""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from common.files import write_whole
from server.report.wording import counted
from simulations.privacy_study.figure import figure
from simulations.privacy_study.goal import words_of_goal
from simulations.privacy_study.plan import StudyPlan
from simulations.privacy_study.verdict import Cell


def write_pages(out: Path, plan: StudyPlan, cells: Sequence[Cell], patients: int) -> None:
    """Write all three files to `out`.

    Args:
        out: folder of the study.
        plan: of the study.
        cells: all of them, the public start first.
        patients: training patients of all hospitals together.
    """
    pages = {
        "privacy.md": markdown(plan, cells, patients),
        "privacy.csv": comma_separated(cells),
        "privacy.svg": figure(plan, cells, patients),
    }
    for name, text in pages.items():
        write_whole(out / name, text.encode())


def markdown(plan: StudyPlan, cells: Sequence[Cell], patients: int) -> str:
    """A table to read."""
    lines = [
        "# Zero-shot AUROC against epsilon",
        "",
        f"Held-out patients, {counted(len(plan.seeds), 'seed', 'seeds')}; 95 % intervals over patients and "
        f"seeds. Epsilon at delta {plan.delta:g} is for a patient of one hospital, add-or-remove, over all "
        f"steps. Kept: the gain over the public start as a share of the gain of `{plan.reference}`. "
        f"Epsilon inf clips and adds no noise. Settings were chosen on {plan.tuned_on}.",
        "",
        words_of_goal(plan, cells, patients),
        "",
        "| arm | what it is | patients | epsilon | mean AUROC | kept |",
        "|---|---|---|---|---|---|",
    ]
    for cell in cells:
        about = plan.variants[cell.arm].about if cell.arm else "learned from the public bank alone"
        kept = f"{cell.kept.value:.0%} ({cell.kept.low:.0%} to {cell.kept.high:.0%})" if cell.arm else ""
        epsilon = f"{cell.epsilon:g}" if cell.arm and plan.variants[cell.arm].mechanism else ""
        people = f"{patients * plan.variants[cell.arm].cohort_times:,}" if cell.arm else ""
        lines.append(
            f"| {cell.arm or 'public start'} | {about} | {people} | {epsilon} | {cell.mean_auroc} | {kept} |"
        )
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
