"""Charts of how a run went: losses, the global step, seconds, bytes, who answered."""

from collections.abc import Callable, Mapping, Sequence

from server.report.panels import (
    KIND_COLOURS,
    PHASE_COLOURS,
    STATUS_COLOURS,
    TRAFFIC_COLOURS,
    Group,
    Key,
    Panel,
    Trace,
    figure,
    line_mode,
    literal,
    round_axis,
    row_axis,
    row_pixels,
    site_keys,
    site_line,
    trace,
)
from server.report.records import PHASES, RoundRecord, RunRecord, SiteRound, SiteTotals
from server.report.wording import byte_unit, in_bytes, in_seconds, titled

_LOSS_UNITS: Mapping[str, str] = {
    "global_contrastive": "nats",
    "masked_language": "nats per word piece",
    "masked_image": "squared error",
}
_STATUSES = ("ok", "refused", "late")
_LossesOf = Callable[[SiteRound], Mapping[str, float | None]]


def losses(rounds: Sequence[RoundRecord], sites: Sequence[str]) -> Group | None:
    """Two panels per objective, training and validation, on one scale; a line per hospital."""
    panels = [panel for objective in _objectives(rounds) for panel in _loss_panels(objective, rounds, sites)]
    if not panels:
        return None
    return Group(
        panels=panels,
        keys=site_keys(sites),
        note="Press a hospital to bring its lines forward. A gap is a round in which it did not take part.",
        columns=2,
    )


def cohort_losses(rounds: Sequence[RoundRecord]) -> Group | None:
    """The same of all hospitals together, which is what secure aggregation shows of them."""
    turns = [record.cohort for record in rounds]
    panels = []
    for objective in dict.fromkeys(name for turn in turns for name in (*turn.losses, *turn.validation)):
        training = _cohort_lines([turn.losses for turn in turns], objective, rounds)
        held_out = _cohort_lines([turn.validation for turn in turns], objective, rounds)
        panels += _panels_of(objective, training, held_out, rounds)
    if not panels:
        return None
    note = "Means over all rows of the hospitals in the sum: secure aggregation tells the hub no more."
    return Group(panels=panels, note=note, columns=2)


def _cohort_lines(
    turns: Sequence[Mapping[str, float | None]], objective: str, rounds: Sequence[RoundRecord]
) -> list[Trace]:
    series = _loss_series(turns, objective)
    if all(value is None for value in series):
        return []
    return [_one_line([(record.round, value) for record, value in zip(rounds, series, strict=True)])]


def _objectives(rounds: Sequence[RoundRecord]) -> list[str]:
    turns = [site for record in rounds for site in record.sites]
    return list(dict.fromkeys(objective for site in turns for objective in (*site.losses, *site.validation)))


def _loss_panels(objective: str, rounds: Sequence[RoundRecord], sites: Sequence[str]) -> list[Panel]:
    training = _loss_lines(_series(rounds, sites, objective, lambda site: site.losses), rounds, sites)
    held_out = _loss_lines(_series(rounds, sites, objective, lambda site: site.validation), rounds, sites)
    return _panels_of(objective, training, held_out, rounds)


def _panels_of(
    objective: str,
    training: Sequence[Trace],
    held_out: Sequence[Trace],
    rounds: Sequence[RoundRecord],
) -> list[Panel]:
    scale = _scale([*training, *held_out])
    unit = _LOSS_UNITS.get(objective)
    return [
        Panel(
            f"{titled(objective)}: {words}",
            figure(
                lines,
                height=240,
                x="round",
                y=f"loss ({unit})" if unit else "loss",
                xaxis=round_axis(rounds[-1].round),
                yaxis={"range": scale, "nticks": 6},
            ),
        )
        for words, lines in (("loss in training", training), ("loss on validation patients", held_out))
        if lines
    ]


def _series(
    rounds: Sequence[RoundRecord], sites: Sequence[str], objective: str, losses_of: _LossesOf
) -> list[list[float | None]]:
    """A row per hospital and a value per round, to five digits."""
    turns = [[record.site(name) for record in rounds] for name in sites]
    return [_loss_series([losses_of(turn) if turn else {} for turn in row], objective) for row in turns]


def _loss_series(turns: Sequence[Mapping[str, float | None]], objective: str) -> list[float | None]:
    """A value per round, to five digits."""
    values = [turn.get(objective) for turn in turns]
    return [None if value is None else float(f"{value:.5g}") for value in values]


def _loss_lines(
    series: Sequence[Sequence[float | None]], rounds: Sequence[RoundRecord], sites: Sequence[str]
) -> list[Trace]:
    return [
        trace(
            "scatter",
            x=[record.round for record in rounds],
            y=values,
            mode=line_mode(len(rounds)),
            name=literal(name),
            meta=index,
            line={**site_line(index), "width": 1.6 if len(sites) <= 8 else 1.1},
            marker={"size": 4},
            hovertemplate="round %{x}: %{y:.4g}",
        )
        for index, (name, values) in enumerate(zip(sites, series, strict=True))
        if any(value is not None for value in values)
    ]


def _scale(lines: Sequence[Trace]) -> list[float] | None:
    known = [value for line in lines for value in line["y"] if value is not None]
    if not known:
        return None
    air = 0.05 * (max(known) - min(known)) or 0.1
    return [min(known) - air, max(known) + air]


def steps(rounds: Sequence[RoundRecord]) -> Group:
    """Length of the global step and share of clipped values, by round."""
    panels = [
        _measured(
            "How far each round moved the model",
            "length of the step (L2)",
            [(record.round, record.update_norm) for record in rounds],
        ),
        _measured(
            "How much of the updates was clipped",
            "share of values (%)",
            [
                (record.round, None if record.clipped_share is None else 100 * record.clipped_share)
                for record in rounds
            ],
        ),
    ]
    return Group(heading="The global step", panels=panels, columns=2)


def _measured(title: str, unit: str, series: Sequence[tuple[int, float | None]]) -> Panel:
    drawn = figure(
        [_one_line(series)],
        height=200,
        x="round",
        y=unit,
        xaxis=round_axis(series[-1][0]),
        yaxis={"rangemode": "tozero", "nticks": 5},
    )
    return Panel(title, drawn)


def _one_line(series: Sequence[tuple[int, float | None]]) -> Trace:
    """Round and value, for all hospitals together."""
    return trace(
        "scatter",
        x=[number for number, _ in series],
        y=[value for _, value in series],
        mode=line_mode(len(series)),
        line={"color": KIND_COLOURS["federated"], "width": 1.8},
        marker={"size": 4},
        hovertemplate="round %{x}: %{y:.4g}<extra></extra>",
    )


def costs(run: RunRecord, rounds: Sequence[RoundRecord]) -> Group:
    """Seconds by phase, bytes by round, bytes by hospital."""
    phases = [
        Key(f"{titled(phase)}, {in_seconds(run.seconds.of(phase))}", PHASE_COLOURS[phase], "box")
        for phase in PHASES
    ]
    traffic = [
        Key("from the hospitals to the hub", TRAFFIC_COLOURS["up"], "box"),
        Key("from the hub to the hospitals", TRAFFIC_COLOURS["down"], "box"),
    ]
    return Group(
        panels=[_seconds(run, rounds), _bytes_by_round(run, rounds), _bytes_by_site(run.sites)],
        keys=[*phases, *traffic],
        columns=2,
    )


def _seconds(run: RunRecord, rounds: Sequence[RoundRecord]) -> Panel:
    bars = [
        trace(
            "bar",
            x=[record.round for record in rounds],
            y=[record.seconds.of(phase) for record in rounds],
            name=phase,
            marker={"color": PHASE_COLOURS[phase], "line": {"width": 0}},
            hovertemplate="round %{x}: %{y:.2f} s",
        )
        for phase in PHASES
    ]
    share = 100 * run.seconds.training / run.seconds.total if run.seconds.total else 0.0
    drawn = figure(
        bars,
        height=280,
        x="round",
        y="wall time (s)",
        barmode="stack",
        bargap=_gap(len(rounds)),
        xaxis=round_axis(rounds[-1].round),
        yaxis={"nticks": 6},
    )
    return Panel(
        f"Where the time went: {share:.0f} % of {in_seconds(run.seconds.total)} is training", drawn, wide=True
    )


def _bytes_by_round(run: RunRecord, rounds: Sequence[RoundRecord]) -> Panel:
    size, unit = byte_unit(max(max(record.bytes.up, record.bytes.down) for record in rounds))
    bars = [
        trace(
            "bar",
            x=[record.round for record in rounds],
            y=[getattr(record.bytes, way) / size for record in rounds],
            name=words,
            marker={"color": TRAFFIC_COLOURS[way], "line": {"width": 0}},
            hovertemplate=f"round %{{x}}: %{{y:.2f}} {unit}",
        )
        for way, words in (("up", "to the hub"), ("down", "to the hospitals"))
    ]
    drawn = figure(
        bars,
        height=260,
        x="round",
        y=f"all hospitals ({unit})",
        barmode="stack",
        bargap=_gap(len(rounds)),
        xaxis=round_axis(rounds[-1].round),
        yaxis={"nticks": 6},
    )
    return Panel(f"Bytes by round: {in_bytes(run.bytes.up)} left the hospitals in all", drawn)


def _bytes_by_site(sites: Sequence[SiteTotals]) -> Panel:
    size, unit = byte_unit(max(max(site.bytes_up, site.bytes_down) for site in sites))
    bars = [
        trace(
            "bar",
            x=[count / size for count in counts],
            y=list(range(len(sites))),
            orientation="h",
            name=words,
            marker={"color": TRAFFIC_COLOURS[way]},
            hovertemplate=f"%{{x:.2f}} {unit}",
        )
        for way, words, counts in (
            ("up", "to the hub", [site.bytes_up for site in sites]),
            ("down", "to the hospital", [site.bytes_down for site in sites]),
        )
    ]
    drawn = figure(
        bars,
        height=max(260, row_pixels(len(sites))),
        x=f"whole run ({unit})",
        y="",
        barmode="group",
        bargap=0.3,
        xaxis={"rangemode": "tozero", "nticks": 5},
        yaxis=row_axis([site.name for site in sites]),
    )
    return Panel("Bytes by hospital", drawn)


def answers(rounds: Sequence[RoundRecord], sites: Sequence[str]) -> Group | None:
    """A row per hospital and a cell per round; None where every hospital answered every round."""
    here = [[record.site(name) for record in rounds] for name in sites]
    if all(site is not None and site.status == "ok" for row in here for site in row):
        return None
    drawn = figure(
        [_cells(rounds, here)],
        height=row_pixels(len(sites)),
        x="round",
        y="",
        xaxis={**round_axis(rounds[-1].round), "showgrid": False},
        yaxis=row_axis(sites),
    )
    keys = [Key(status, STATUS_COLOURS[status], "box") for status in _STATUSES]
    return Group(panels=[Panel("Who answered, round by round", drawn, wide=True)], keys=keys)


def _cells(rounds: Sequence[RoundRecord], here: Sequence[Sequence[SiteRound | None]]) -> Trace:
    colours = [(STATUS_COLOURS[status], step) for step, status in enumerate(_STATUSES)]
    return trace(
        "heatmap",
        x=[record.round for record in rounds],
        y=list(range(len(here))),
        z=[[_STATUSES.index(site.status) if site else None for site in row] for row in here],
        text=[[literal(_answer(site)) for site in row] for row in here],
        zmin=-0.5,
        zmax=2.5,
        colorscale=[(edge / 3, colour) for colour, step in colours for edge in (step, step + 1)],
        showscale=False,
        xgap=1 if len(rounds) <= 100 else 0,
        ygap=2,
        hovertemplate="round %{x}: %{text}<extra></extra>",
    )


def _answer(site: SiteRound | None) -> str:
    if site is None:
        return "not asked"
    return f"{site.status}: {site.reason}" if site.reason else site.status


def _gap(bars: int) -> float:
    return 0.25 if bars <= 60 else 0.0
