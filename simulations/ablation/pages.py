"""The verdict of an ablation on paper: a table in Markdown and CSV, its figures in JSON, and a chart in SVG.

OUT/ablation.md, ablation.csv, ablation.json, ablation.svg
"""

import csv
import io
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.markup import escape as literal
from rich.table import Table

from common.evaluation.metrics import Estimate
from common.files import write_whole
from simulations.ablation.plan import AblationPlan
from simulations.ablation.verdict import VariantVerdict

INK, MUTED, GRID = "#1f2933", "#5b6770", "#e3e7eb"
COLOURS = {"better": "#0b5cad", "worse": "#b84a00", "no difference shown": "#5b6770"}
ROW, LEFT, WIDTH, TOP, GAP = 24, 350, 900, 64, 24


def write_pages(out: Path, plan: AblationPlan, verdicts: Sequence[VariantVerdict]) -> None:
    """Write all four files to `out`."""
    pages = {
        "ablation.md": markdown(plan, verdicts),
        "ablation.csv": comma_separated(verdicts),
        "ablation.json": json.dumps(
            {
                "base": plan.base,
                "reference": plan.reference,
                "seeds": plan.seeds,
                "variants": [verdict.to_json() for verdict in verdicts],
            },
            indent=2,
        )
        + "\n",
        "ablation.svg": chart(plan, verdicts),
    }
    for name, text in pages.items():
        write_whole(out / name, text.encode())


def terminal_table(plan: AblationPlan, verdicts: Sequence[VariantVerdict]) -> Table:
    """A row per variant, best first."""
    table = Table(
        title="Zero-shot AUROC on held-out patients (0.5 is chance)",
        box=SIMPLE_HEAD,
        show_edge=False,
        padding=0,
    )
    table.add_column("variant", no_wrap=True)
    for column in ("mean", "95 % interval", f"minus {plan.reference}", "95 % interval", "rank"):
        table.add_column(column, justify="right")
    for one in _best_first(verdicts):
        own = one.name == plan.reference
        table.add_row(
            literal(one.name),
            f"{one.mean_auroc.value:.3f}",
            f"{one.mean_auroc.low:.3f}–{one.mean_auroc.high:.3f}",
            "" if own else f"{one.difference.value:+.3f}",
            "" if own else f"{one.difference.low:+.3f} to {one.difference.high:+.3f}",
            f"{one.percentile_rank:.3f}",
            style="bold" if own else "",
        )
    return table


def markdown(plan: AblationPlan, verdicts: Sequence[VariantVerdict]) -> str:
    """A table to read."""
    lines = [
        f"# {plan.base}: variants against `{plan.reference}`",
        "",
        f"Zero-shot AUROC on held-out patients, the mean over {len(verdicts[0].tasks)} questions and "
        f"{len(plan.seeds)} seeds; 95 % intervals over patients and seeds together. A difference is that to "
        f"`{plan.reference}` with the same seeds and patients. Rank: how likely a right report ranks above a "
        "wrong one, the mean over hospitals and both directions. 0.5 is chance for both.",
        "",
        "| variant | what it is | mean AUROC | difference | it is | rank | training s |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in _best_first(verdicts):
        own = one.name == plan.reference
        lines.append(
            f"| {one.name} | {one.about} | {one.mean_auroc} "
            f"| {'' if own else _signed(one.difference)} | {'the reference' if own else one.words} "
            f"| {one.percentile_rank:.3f} | {one.seconds:.0f} |"
        )
    lines += ["", "| variant | " + " | ".join(verdicts[0].tasks) + " | seeds |"]
    lines.append("|---" * (len(verdicts[0].tasks) + 2) + "|")
    for one in verdicts:
        seeds = ", ".join(f"{value:.3f}" for value in one.by_seed)
        lines.append(
            f"| {one.name} | " + " | ".join(f"{value:.3f}" for value in one.tasks.values()) + f" | {seeds} |"
        )
    return "\n".join(lines) + "\n"


def comma_separated(verdicts: Sequence[VariantVerdict]) -> str:
    """A table to compute with."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    tasks = list(verdicts[0].tasks)
    figures = ("mean_auroc", "mean_auroc_low", "mean_auroc_high")
    differences = ("difference", "difference_low", "difference_high")
    writer.writerow(["variant", *figures, *differences, "percentile_rank", "training_seconds", *tasks])
    for one in verdicts:
        numbers = [
            *(one.mean_auroc.value, one.mean_auroc.low, one.mean_auroc.high),
            *(one.difference.value, one.difference.low, one.difference.high),
            *(one.percentile_rank, one.seconds, *one.tasks.values()),
        ]
        writer.writerow([one.name, *(f"{number:.4f}" for number in numbers)])
    return text.getvalue()


def chart(plan: AblationPlan, verdicts: Sequence[VariantVerdict]) -> str:
    """A row per variant, best first: its difference from the reference, the interval, and every seed."""
    rows = sorted(
        (one for one in verdicts if one.name != plan.reference), key=lambda one: -one.difference.value
    )
    reference = next(one for one in verdicts if one.name == plan.reference)
    offsets = {one.name: [a - b for a, b in zip(one.by_seed, reference.by_seed, strict=True)] for one in rows}
    ends = [end for one in rows for end in (one.difference.low, one.difference.high, *offsets[one.name])]
    reach = max(0.02, max((abs(end) for end in ends), default=0.0)) * 1.08
    place = _Scale(reach)
    height = TOP + ROW * len(rows) + 44
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" font-family="system-ui, sans-serif" font-size="13" fill="{INK}">',
        f"<title>{escape(plan.base)}: differences in zero-shot AUROC</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="16" y="26" font-size="15" font-weight="600">Zero-shot AUROC: difference from '
        f"“{escape(reference.about)}” ({reference.mean_auroc.value:.3f})</text>",
        f'<text x="16" y="46" fill="{MUTED}">mean of {len(reference.tasks)} questions and {len(plan.seeds)} '
        "seeds; bar: 95 % interval over patients and seeds; small dots: the seeds</text>",
    ]
    bottom = TOP + ROW * len(rows)
    for tick in place.ticks():
        x = place(tick)
        shade = INK if tick == 0 else GRID
        drawn.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{bottom}" stroke="{shade}"/>')
        drawn.append(
            f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle" fill="{MUTED}">{tick:+.2f}</text>'
        )
    for number, one in enumerate(rows):
        y, colour = TOP + ROW * (number + 0.5), COLOURS[one.words]
        low, value, high = (
            place(end) for end in (one.difference.low, one.difference.value, one.difference.high)
        )
        drawn.append(f'<text x="{LEFT - GAP}" y="{y + 4:.1f}" text-anchor="end">{escape(one.about)}</text>')
        drawn.append(
            f'<line x1="{low:.1f}" y1="{y}" x2="{high:.1f}" y2="{y}" stroke="{colour}" stroke-width="2.5"/>'
        )
        drawn += [
            f'<circle cx="{place(offset):.1f}" cy="{y}" r="2" fill="white" stroke="{colour}"/>'
            for offset in offsets[one.name]
        ]
        drawn.append(f'<circle cx="{value:.1f}" cy="{y}" r="5" fill="{colour}"/>')
    return "\n".join([*drawn, "</svg>"]) + "\n"


class _Scale:
    """From differences to places, 0 in the middle."""

    def __init__(self, reach: float) -> None:
        self._reach = reach

    def __call__(self, difference: float) -> float:
        middle = (LEFT + WIDTH - GAP) / 2
        return middle + difference / self._reach * (WIDTH - GAP - LEFT) / 2

    def ticks(self) -> list[float]:
        """Round differences, the same on both sides of 0."""
        step = next(step for step in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if self._reach / step <= 4)
        most = int(self._reach / step)
        return [round(step * number, 2) for number in range(-most, most + 1)]


def _best_first(verdicts: Sequence[VariantVerdict]) -> list[VariantVerdict]:
    return sorted(verdicts, key=lambda one: -one.mean_auroc.value)


def _signed(difference: Estimate) -> str:
    return f"{difference.value:+.3f} ({difference.low:+.3f} to {difference.high:+.3f})"
