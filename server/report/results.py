"""Charts of what the model can do: zero-shot AUROC, the comparison, retrieval."""

from collections.abc import Iterable, Sequence
from typing import Any

from server.report.panels import (
    KIND_COLOURS,
    KIND_SYMBOLS,
    KIND_WORDS,
    MUTED,
    Figure,
    Group,
    Key,
    Panel,
    Trace,
    dotted_line,
    figure,
    line_mode,
    literal,
    round_axis,
    row_axis,
    row_pixels,
    trace,
)
from server.report.records import FinalScores, Interval, ModelRecord, RetrievalScore, RoundRecord
from server.report.wording import titled

CHANCE = 0.5
_FEW_ROWS = 8
_DIRECTIONS = {"image-to-report": "Image finds its report", "report-to-image": "Report finds its image"}


def auroc_by_round(
    rounds: Sequence[RoundRecord], final: FinalScores, models: Sequence[ModelRecord]
) -> list[Group]:
    """Mean AUROC by round with the end of the other models beside it, then one small panel per task."""
    tasks = dict.fromkeys(task for record in rounds for task in record.evaluation.zero_shot)
    if not any(record.evaluation.mean_auroc is not None for record in rounds):
        return []
    values = [value for record in rounds for value in record.evaluation.zero_shot.values()]
    ends = _ends(models)
    scale = _auroc_range([*values, *(value for _, value in ends)])
    beside = "; dashed lines are where central training and the best hospital alone end" if ends else ""
    curves = _by_steps(models)
    means = Group(
        panels=[_mean_by_round(rounds, final, ends, scale), *curves],
        keys=[*_kind_keys(models), Key("chance", MUTED, "dot")],
        note=f"On held-out patients of all hospitals. Bar at the last round: 95 % interval{beside}.",
        columns=2 if curves else 1,
    )
    panels = [_task_by_round(task, rounds, final, scale) for task in tasks]
    return [means, Group(heading="Task by task", panels=panels)] if panels else [means]


def _task_by_round(task: str, rounds: Sequence[RoundRecord], final: FinalScores, scale: list[float]) -> Panel:
    series = [(record.round, record.evaluation.zero_shot.get(task)) for record in rounds]
    score = final.task(task)
    return Panel(titled(task), _federated_curve(series, score.auroc if score else None, scale, height=190))


def _mean_by_round(
    rounds: Sequence[RoundRecord],
    final: FinalScores,
    ends: Sequence[tuple[ModelRecord, float]],
    scale: list[float],
) -> Panel:
    series = [(record.round, record.evaluation.mean_auroc) for record in rounds]
    drawn = _federated_curve(series, final.mean_auroc, scale, height=300)
    drawn["data"] += [_end_of(model, value, rounds[-1].round) for model, value in ends]
    return Panel(_rise(series), drawn)


def _ends(models: Sequence[ModelRecord]) -> list[tuple[ModelRecord, float]]:
    """Where central training and the best local model end."""
    known = [(model, model.final.mean_auroc.value) for model in models if model.final.mean_auroc]
    best = (
        max((end for end in known if end[0].kind == kind), key=lambda end: end[1], default=None)
        for kind in ("central", "local")
    )
    return [end for end in best if end]


def _rise(series: Sequence[tuple[int, float | None]]) -> str:
    known = [value for _, value in series if value is not None]
    first, last = known[0], known[-1]
    if len(known) == 1:
        return f"Mean AUROC is {last:.3f} in the end"
    return f"Mean AUROC {'rises' if last > first else 'goes'} from {first:.3f} to {last:.3f}"


def _end_of(model: ModelRecord, value: float, last: int) -> Trace:
    return trace(
        "scatter",
        x=[1, last] if last > 1 else [0.5, 1.5],
        y=[value, value],
        mode="lines",
        name=literal(model.name),
        line={"color": KIND_COLOURS[model.kind], "width": 1.4, "dash": "dash"},
        hovertemplate="ends at %{y:.3f}",
    )


def _federated_curve(
    series: Sequence[tuple[int, float | None]], final: Interval | None, scale: list[float], *, height: int
) -> Figure:
    known = [(number, value) for number, value in series if value is not None]
    colour = KIND_COLOURS["federated"]
    curve = trace(
        "scatter",
        x=[number for number, _ in known],
        y=[value for _, value in known],
        mode=line_mode(len(known)),
        name="federated",
        line={"color": colour, "width": 2.2},
        marker={"color": colour, "size": 5},
        hovertemplate="round %{x}: %{y:.3f}<extra></extra>",
    )
    last = series[-1][0]
    return figure(
        [curve, _estimate(final, last, colour)] if final else [curve],
        height=height,
        x="round",
        y="AUROC",
        xaxis=round_axis(last),
        yaxis={"range": scale, "tickformat": ".2f", "nticks": 6},
        shapes=[dotted_line(y=CHANCE)],
    )


def _estimate(final: Interval, last: int, colour: str) -> Trace:
    return trace(
        "scatter",
        x=[last],
        y=[final.value],
        mode="markers",
        marker={"color": colour, "size": 7},
        error_y={**_bars([final]), "color": colour},
        customdata=[[final.low, final.high]],
        hovertemplate="final: %{y:.3f} (%{customdata[0]:.3f}–%{customdata[1]:.3f})<extra></extra>",
    )


def _by_steps(models: Sequence[ModelRecord]) -> list[Panel]:
    """Mean AUROC against optimiser steps, where a comparison has curves."""
    drawn = [model for model in models if any(point.mean_auroc is not None for point in model.curve)]
    if len(drawn) < 2:
        return []
    traces = []
    for model in reversed(drawn):
        points = [point for point in model.curve if point.mean_auroc is not None]
        traces.append(
            trace(
                "scatter",
                x=[point.steps for point in points],
                y=[point.mean_auroc for point in points],
                mode="lines" if model.kind == "local" else line_mode(len(points)),
                name=literal(model.name),
                line={"color": KIND_COLOURS[model.kind], "width": 1.2 if model.kind == "local" else 2.2},
                marker={"symbol": KIND_SYMBOLS[model.kind], "size": 5},
                hovertemplate="%{x:,} steps: %{y:.3f}",
            )
        )
    scale = _auroc_range(point.mean_auroc for model in drawn for point in model.curve)
    made = figure(
        traces,
        height=300,
        x="optimiser steps, in a federation of one site",
        y="mean AUROC",
        xaxis={"rangemode": "tozero", "nticks": 5},
        yaxis={"range": scale, "tickformat": ".2f", "nticks": 6},
        shapes=[dotted_line(y=CHANCE)],
    )
    return [Panel("Mean AUROC by optimiser steps", made)]


def comparison(models: Sequence[ModelRecord], tasks: Sequence[str]) -> Group | None:
    """One panel for the mean and one per task: a row per model, a dot with its interval."""
    means = [(model, model.final.mean_auroc) for model in models]
    if not tasks and not any(estimate for _, estimate in means):
        return None
    asked = [(task, [(model, model.final.task(task)) for model in models]) for task in tasks]
    rows = [
        (titled(task), [(model, score.auroc if score else None) for model, score in of]) for task, of in asked
    ]
    everything = [estimate for _, row in [("", means), *rows] for _, estimate in row if estimate]
    scale = _auroc_range(bound for estimate in everything for bound in (estimate.low, estimate.high))
    panels = [Panel(title, _dots(row, scale)) for title, row in [("Mean over tasks", means), *rows]]
    return Group(
        panels=panels,
        keys=[*_kind_keys(models), Key("chance", MUTED, "dot")],
        note="On the same held-out patients of all hospitals. Bar: 95 % interval. Further right is better.",
    )


def _dots(row: Sequence[tuple[ModelRecord, Interval | None]], scale: list[float]) -> Figure:
    traces = []
    for height, (model, estimate) in enumerate(row):
        if estimate is not None:
            traces.append(
                _dot(estimate, height, model.name, KIND_COLOURS[model.kind], KIND_SYMBOLS[model.kind])
            )
    return figure(
        traces,
        height=row_pixels(len(row)),
        x="AUROC",
        y="",
        xaxis={"range": scale, "tickformat": ".2f", "nticks": 5},
        yaxis=row_axis([model.name for model, _ in row]),
        shapes=[dotted_line(x=CHANCE)],
    )


def retrieval(scores: Sequence[RetrievalScore]) -> list[Group]:
    """One group per direction: recall at each k and the percentile rank, a row per hospital."""
    groups = []
    for direction, heading in _DIRECTIONS.items():
        asked = [score for score in scores if score.direction == direction]
        if not asked:
            continue
        cuts = sorted({cut for score in asked for cut in score.recall})
        panels = [_recall(asked, cut) for cut in cuts]
        ranks = [(score, score.percentile_rank, CHANCE) for score in asked]
        panels.append(Panel("Outranks a wrong answer", _retrieved(ranks, "probability")))
        groups.append(
            Group(
                heading=heading,
                panels=panels,
                keys=[Key("federated", KIND_COLOURS["federated"], "circle"), Key("chance", MUTED, "tick")],
                note="Among the held-out pairs of one hospital: share of queries with the right answer, "
                "and probability that it comes before a random wrong one. Bar: 95 % interval.",
                columns=4 if len(asked) <= _FEW_ROWS else 2,
            )
        )
    return groups


def _recall(asked: Sequence[RetrievalScore], cut: int) -> Panel:
    rows = [(score, score.recall.get(cut), score.chance.get(cut)) for score in asked]
    return Panel(
        "Found first" if cut == 1 else f"Found among the first {cut}",
        _retrieved(rows, f"recall at {cut}"),
    )


def _retrieved(rows: Sequence[tuple[RetrievalScore, Interval | None, float | None]], unit: str) -> Figure:
    colour = KIND_COLOURS["federated"]
    marks = [(height, chance) for height, (_, _, chance) in enumerate(rows) if chance is not None]
    chances = trace(
        "scatter",
        x=[chance for _, chance in marks],
        y=[height for height, _ in marks],
        mode="markers",
        marker={"symbol": "line-ns", "size": 13, "line": {"color": MUTED, "width": 2}},
        hovertemplate="chance %{x:.3f}<extra></extra>",
    )
    dots = [
        _dot(estimate, height, f"{score.site}, {score.queries} queries", colour, "circle")
        for height, (score, estimate, _) in enumerate(rows)
        if estimate is not None
    ]
    return figure(
        [chances, *dots],
        height=row_pixels(len(rows)),
        x=unit,
        y="",
        xaxis={"range": [-0.03, 1.03], "tickvals": [0, 0.5, 1]},
        yaxis=row_axis([score.site for score, _, _ in rows]),
    )


def _dot(estimate: Interval, height: int, name: str, colour: str, symbol: str) -> Trace:
    return trace(
        "scatter",
        x=[estimate.value],
        y=[height],
        mode="markers",
        name=literal(name),
        marker={"color": colour, "symbol": symbol, "size": 9},
        error_x={**_bars([estimate]), "color": colour},
        customdata=[[estimate.low, estimate.high]],
        hovertemplate="%{x:.3f} (%{customdata[0]:.3f}–%{customdata[1]:.3f})",
    )


def _bars(estimates: Sequence[Interval]) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [max(estimate.high - estimate.value, 0) for estimate in estimates],
        "arrayminus": [max(estimate.value - estimate.low, 0) for estimate in estimates],
        "thickness": 1.6,
        "width": 3,
    }


def _auroc_range(values: Iterable[float | None]) -> list[float]:
    """Chance and every value with a little air, inside 0 to 1."""
    known = [CHANCE, *(value for value in values if value is not None)]
    return [max(min(known) - 0.04, -0.01), min(max(known) + 0.04, 1.01)]


def _kind_keys(models: Sequence[ModelRecord]) -> list[Key]:
    kinds = dict.fromkeys(model.kind for model in models)
    return [Key(KIND_WORDS[kind], KIND_COLOURS[kind], KIND_SYMBOLS[kind]) for kind in kinds]
