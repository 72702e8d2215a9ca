"""The verdict of an ablation on paper: a table in Markdown and CSV, its figures in JSON, and a chart in SVG.

OUT/ablation.md, ablation.csv, ablation.json, ablation.svg
"""

import csv
import io
import json
import math
from collections.abc import Sequence
from html import escape
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.markup import escape as literal
from rich.table import Table

from common.evaluation.metrics import Estimate
from common.files import write_whole
from server.report.wording import counted
from simulations.ablation.plan import AblationPlan
from simulations.ablation.verdict import VariantVerdict

INK, MUTED, GRID = "#1f2933", "#5b6770", "#e3e7eb"
COLOURS = {"better": "#0b5cad", "worse": "#b84a00", "no difference shown": "#5b6770"}
ROW, TOP, GAP, LETTER, PLOT = 24, 64, 16, 7.2, 520
"""Pixels: of a row, above the first, between things, of a letter, and the width of the differences."""


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
        f"Zero-shot AUROC on held-out patients, the mean over {_asked(plan, verdicts)}; "
        "95 % intervals over patients and seeds together. A difference is that to "
        f"`{plan.reference}` with the same seeds and patients. Rank: how likely a right report ranks above a "
        "wrong one, the mean over hospitals and both directions. 0.5 is chance for both.",
        "",
        "| variant | what it is | mean AUROC | difference | it is | rank |",
        "|---|---|---|---|---|---|",
    ]
    for one in _best_first(verdicts):
        own = one.name == plan.reference
        lines.append(
            f"| {one.name} | {one.about} | {one.mean_auroc} "
            f"| {'' if own else _signed(one.difference)} | {'the reference' if own else one.words} "
            f"| {one.percentile_rank:.3f} |"
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
    writer.writerow(["variant", *figures, *differences, "percentile_rank", *tasks])
    for one in verdicts:
        numbers = [
            *(one.mean_auroc.value, one.mean_auroc.low, one.mean_auroc.high),
            *(one.difference.value, one.difference.low, one.difference.high),
            *(one.percentile_rank, *one.tasks.values()),
        ]
        writer.writerow([one.name, *(f"{number:.4f}" for number in numbers)])
    return text.getvalue()


def chart(plan: AblationPlan, verdicts: Sequence[VariantVerdict]) -> str:
    """A row per variant, best first: its difference from the reference, the interval, and every seed."""
    rows = sorted(
        (one for one in verdicts if one.name != plan.reference), key=lambda one: -one.difference.value
    )
    reference = next(one for one in verdicts if one.name == plan.reference)
    seeds = {one.name: [a - b for a, b in zip(one.by_seed, reference.by_seed, strict=True)] for one in rows}
    ends = [end for one in rows for end in (one.difference.low, one.difference.high, *seeds[one.name])]
    place = _Scale(
        [end for end in (0.0, *ends) if math.isfinite(end)], longest=max(map(_letters, rows), default=0)
    )
    bottom = TOP + ROW * len(rows)
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {place.width:.0f} {bottom + 44}" '
        f'width="{place.width:.0f}" font-family="system-ui, sans-serif" font-size="13" fill="{INK}">',
        f"<title>{escape(plan.base)}: differences in zero-shot AUROC</title>",
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="16" y="26" font-size="15" font-weight="600">Zero-shot AUROC: difference from '
        f"“{escape(reference.about)}” ({reference.mean_auroc.value:.3f})</text>",
        f'<text x="16" y="46" fill="{MUTED}">mean of {_asked(plan, verdicts)}; bar: 95 % interval over '
        "patients and seeds; rings: each seed</text>",
    ]
    for tick in place.ticks():
        x, shade = place(tick), INK if tick == 0 else GRID
        words = f"{tick:+.2f}" if tick else "0"
        drawn += [
            f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{bottom}" stroke="{shade}"/>',
            f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle" fill="{MUTED}">{words}</text>',
        ]
    for number, one in enumerate(rows):
        drawn += _row(one, place, TOP + ROW * (number + 0.5), seeds[one.name])
    return "\n".join([*drawn, "</svg>"]) + "\n"


def _row(one: VariantVerdict, place: "_Scale", y: float, seeds: Sequence[float]) -> list[str]:
    colour = COLOURS[one.words]
    rings = [
        f'<circle cx="{place(seed):.1f}" cy="{y}" r="2.5" fill="white" stroke="{colour}"/>' for seed in seeds
    ]
    return [
        f'<text x="{place.left - GAP}" y="{y + 4:.1f}" text-anchor="end">{escape(one.about)}</text>',
        f'<line x1="{place(one.difference.low):.1f}" y1="{y}" x2="{place(one.difference.high):.1f}" y2="{y}" '
        f'stroke="{colour}" stroke-width="2.5"/>',
        f'<circle cx="{place(one.difference.value):.1f}" cy="{y}" r="5" fill="{colour}"/>',
        *rings,
    ]


def _letters(one: VariantVerdict) -> int:
    return len(one.about)


class _Scale:
    """From differences to places, right of the labels."""

    def __init__(self, ends: Sequence[float], *, longest: int) -> None:
        self.left = 2 * GAP + LETTER * longest
        self.width = self.left + PLOT + GAP
        air = 0.04 * (max(ends) - min(ends)) or 0.01
        self._low, self._high = min(ends) - air, max(ends) + air

    def __call__(self, difference: float) -> float:
        return self.left + (difference - self._low) / (self._high - self._low) * PLOT

    def ticks(self) -> list[float]:
        """Round differences, 0 among them."""
        span = self._high - self._low
        step = next(step for step in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if span / step <= 9)
        first, last = math.ceil(self._low / step), math.floor(self._high / step)
        return [round(step * number, 2) for number in range(first, last + 1)]


def _asked(plan: AblationPlan, verdicts: Sequence[VariantVerdict]) -> str:
    questions = counted(len(verdicts[0].tasks), "question", "questions")
    return f"{questions} and {counted(len(plan.seeds), 'seed', 'seeds')}"


def _best_first(verdicts: Sequence[VariantVerdict]) -> list[VariantVerdict]:
    return sorted(verdicts, key=lambda one: -one.mean_auroc.value)


def _signed(difference: Estimate) -> str:
    return f"{difference.value:+.3f} ({difference.low:+.3f} to {difference.high:+.3f})"
