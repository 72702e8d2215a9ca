"""The comparison as a table in the terminal."""

from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from server.report.records import ModelRecord, read_comparison, read_run
from server.report.verdict import NEAR_CENTRAL, Verdict, judge, models_of, tasks_of
from server.report.wording import bounds, decimals, titled

_MOST_NAME_LETTERS = 18
"""With it, seven tasks fit 80 columns; a narrow terminal cuts headings before it cuts numbers."""
_NUMBER_LETTERS = 5


def comparison_table(run: Path) -> Table:
    """Models against mean and per-task zero-shot AUROC, the verdict beneath.

    Without `comparison.json` the federated model stands alone.

    Raises:
        InputRefusedError: `run.json` is missing, or one of the files is not what this version writes.
    """
    record, comparison = read_run(run), read_comparison(run)
    models = models_of(record, comparison)
    tasks = tasks_of(models)
    table = Table(
        title="Zero-shot AUROC on held-out patients (0.5 is chance)",
        caption_justify="left",
        box=SIMPLE_HEAD,
        show_edge=False,
        padding=0,
    )
    table.add_column("model", no_wrap=True)
    table.add_column("mean", justify="right", no_wrap=True)
    table.add_column("95 % interval", justify="right", no_wrap=True)
    for task in tasks:
        heading = Text(titled(task), no_wrap=True, overflow="ellipsis")
        table.add_column(heading, justify="right", overflow="fold", min_width=_NUMBER_LETTERS)
    for model in models:
        table.add_row(*_row(model, tasks), style="bold" if model.kind == "federated" else "")
    table.caption = "\n".join(_verdict_lines(judge(comparison))) if comparison else "nothing was compared"
    return table


def _row(model: ModelRecord, tasks: tuple[str, ...]) -> list[str]:
    mean = model.final.mean_auroc
    scores = [model.final.task(task) for task in tasks]
    return [
        escape(_fitting(model.name)),
        decimals(mean.value if mean else None),
        bounds(mean),
        *(decimals(score.auroc.value if score else None) for score in scores),
    ]


def _fitting(name: str) -> str:
    return name if len(name) <= _MOST_NAME_LETTERS else f"{name[: _MOST_NAME_LETTERS - 1]}…"


def _verdict_lines(verdict: Verdict) -> list[str]:
    lines = []
    if verdict.ratio_to_central is not None:
        sign = _sign(verdict.near_central)
        lines.append(f"{sign} federated / central = {verdict.ratio_to_central:.3f} (goal {NEAR_CENTRAL:.2f})")
    if verdict.best_local is not None and verdict.above_every_local is not None:
        best = verdict.best_local
        mean = decimals(best.final.mean_auroc.value if best.final.mean_auroc else None)
        words = (
            "above every local-only model"
            if verdict.above_every_local
            else "not above every local-only model"
        )
        lines.append(
            f"{_sign(verdict.above_every_local)} federated is {words} (best: {escape(best.name)}, {mean})"
        )
    return lines or ["no labelled task, so there is nothing to compare"]


def _sign(good: bool | None) -> str:
    return "[green]✓[/green]" if good else "[red]✗[/red]"
