"""`report.html`: one page that shows a run to a person and loads nothing from anywhere."""

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from common.files import whole_file
from common.page import asset, asset_bytes, style, template
from server.report import course, results
from server.report.panels import KIND_COLOURS, Group
from server.report.records import (
    Comparison,
    Interval,
    ModelRecord,
    PrivacyStatement,
    RoundRecord,
    RunRecord,
    SiteTotals,
    read_comparison,
    read_rounds,
    read_run,
)
from server.report.summary import paragraph, tiles
from server.report.verdict import judge, models_of, tasks_of
from server.report.wording import NOTHING, bounds, decimals, in_bytes, in_seconds, thousands, titled

REPORT_FILE = "report.html"
PACKAGE = "server.report"
PLOTLY = "package_data/plotly.min.js"
"""Plotly as a browser reads it, in its package; to import the package takes longer than to write a page."""
LIBRARY = Markup("<library>")
"""Stands for it in the template, a piece of its own; no name or word of a run can, for those are escaped."""
_NO_LABELS = (
    "No round has a zero-shot AUROC: either the spec asks no zero-shot task, "
    "or no held-out patient is labelled for one."
)


@dataclass(frozen=True)
class Section:
    """A heading of the page and the charts under it; `key` names the table that follows them, if any."""

    heading: str
    groups: Sequence[Group]
    key: str = ""
    note: str = ""


@dataclass(frozen=True)
class Column:
    """A heading of a table; the cells are numbers unless they are `words`."""

    title: str
    detail: str = ""
    words: bool = False


@dataclass(frozen=True)
class Cell:
    """A text and a smaller one under it."""

    text: str
    detail: str = ""


@dataclass(frozen=True)
class Table:
    """A table as text; the first cell of a row is its name."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]


def write_report(run: Path) -> Path:
    """Write `report.html` in the folder `run` from the records there, and return its path.

    Raises:
        InputRefusedError: a record is missing or is not what this version writes.
    """
    path = run / REPORT_FILE
    with whole_file(path) as file:
        file.writelines(pieces(read_run(run), read_rounds(run), read_comparison(run)))
    return path


def render(run: RunRecord, rounds: Sequence[RoundRecord], comparison: Comparison | None) -> str:
    """The whole page as HTML; the same records always give the same text."""
    return b"".join(pieces(run, rounds, comparison)).decode()


def pieces(run: RunRecord, rounds: Sequence[RoundRecord], comparison: Comparison | None) -> Iterator[bytes]:
    """The page in UTF-8, piece by piece: Plotly's five million characters go in as they lie on the disc."""
    library = asset_bytes("plotly", PLOTLY)
    for piece in _drawn(run, rounds, comparison, library):
        yield library if piece == LIBRARY else piece.encode()


def _drawn(
    run: RunRecord, rounds: Sequence[RoundRecord], comparison: Comparison | None, library: bytes
) -> Iterator[str]:
    models = models_of(run, comparison)
    verdict = judge(comparison) if comparison else None
    sections = _sections(run, rounds, models)
    drawing = asset(PACKAGE, "page.js")
    return template(PACKAGE, "template.html").generate(
        run=run,
        summary=paragraph(run, rounds, verdict),
        tiles=tiles(run, verdict),
        sections=sections,
        tables={"scores": _scores(models), "hospitals": _hospitals(run.sites, rounds)},
        facts=_facts(run, comparison),
        figures=_figures(sections),
        kind_colours=KIND_COLOURS,
        policy=_policy([library, drawing.encode()]),
        style=Markup(style() + asset(PACKAGE, "page.css")),
        library=LIBRARY,
        drawing=Markup(drawing),
    )


def _sections(run: RunRecord, rounds: Sequence[RoundRecord], models: Sequence[ModelRecord]) -> list[Section]:
    sites = [site.name for site in run.sites]
    by_round = results.auroc_by_round(rounds, run.final, models)
    compared = results.comparison(models, tasks_of(models))
    against = (
        "Federated against central and local-only" if len(models) > 1 else "Final zero-shot AUROC by task"
    )
    made = [
        Section("Zero-shot AUROC by round", by_round, note="" if by_round else _NO_LABELS),
        Section(against, _present(compared), key="scores" if compared else ""),
        Section("Retrieval within each hospital", results.retrieval(run.final.retrieval)),
        _losses(rounds, sites),
        Section("Seconds and bytes", [course.costs(run, rounds), course.steps(rounds)]),
        Section("Hospitals", _present(course.answers(rounds, sites)), key="hospitals"),
    ]
    return [section for section in made if section.groups or section.key or section.note]


def _losses(rounds: Sequence[RoundRecord], sites: Sequence[str]) -> Section:
    """By hospital where the hub knows that, else of all of them together."""
    known = course.losses(rounds, sites)
    if known:
        return Section("Losses by hospital", [known])
    return Section("Losses of all hospitals together", _present(course.cohort_losses(rounds)))


def _present(group: Group | None) -> list[Group]:
    return [group] if group else []


def _figures(sections: Iterable[Section]) -> Markup:
    """Every figure, in the order of the page, as JSON that may stand inside a script element."""
    drawn = [panel.figure for section in sections for group in section.groups for panel in group.panels]
    text = json.dumps(drawn, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _policy(scripts: Iterable[bytes]) -> str:
    """A content security policy under which these scripts run, no other does, and nothing is fetched."""
    hashes = (base64.b64encode(hashlib.sha256(script).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:"


def _scores(models: Sequence[ModelRecord]) -> Table:
    tasks = tasks_of(models)
    first = {score.task: score for model in reversed(models) for score in model.final.zero_shot}
    rows = []
    for model in models:
        scores = [model.final.task(task) for task in tasks]
        estimates = [model.final.mean_auroc, *(score.auroc if score else None for score in scores)]
        rows.append([Cell(model.name), *(_estimate(estimate) for estimate in estimates)])
    return Table(
        columns=[
            Column("Model"),
            Column("Mean", "95 % interval"),
            *(
                Column(titled(task), f"{first[task].positives} yes, {first[task].negatives} no")
                for task in tasks
            ),
        ],
        rows=rows,
    )


def _estimate(estimate: Interval | None) -> Cell:
    return Cell(decimals(estimate.value if estimate else None), bounds(estimate))


def _hospitals(sites: Sequence[SiteTotals], rounds: Sequence[RoundRecord]) -> Table:
    private = any(site.epsilon is not None for site in sites)
    joint = any(site.epsilon_alone is not None for site in sites)
    columns = [
        Column("Hospital"),
        Column("Rows", "training"),
        Column("Rows", "test"),
        Column("Patients"),
        Column("Examples", "all rounds"),
        Column("Rounds", "completed"),
        Column("Refused", "rounds"),
        Column("Late", "rounds"),
        Column("Training"),
        Column("Sent"),
        Column("Received"),
        *([Column("ε", "spent")] if private else []),
        *([Column("ε alone", "if all others collude")] if joint else []),
        Column("Why it did not answer", words=True),
    ]
    return Table(
        columns=columns, rows=[_hospital(site, rounds, private=private, joint=joint) for site in sites]
    )


def _hospital(site: SiteTotals, rounds: Sequence[RoundRecord], *, private: bool, joint: bool) -> list[Cell]:
    turns = [turn for record in rounds if (turn := record.site(site.name))]
    statuses = Counter(turn.status for turn in turns)
    reasons = Counter(turn.reason for turn in turns if turn.status != "ok" and turn.reason)
    texts = [
        site.name,
        *map(thousands, (site.train_rows, site.test_rows, site.patients)),
        NOTHING if site.examples is None else thousands(site.examples),
        *map(thousands, (site.rounds_completed, statuses["refused"], statuses["late"])),
        NOTHING if site.seconds_training is None else in_seconds(site.seconds_training),
        in_bytes(site.bytes_up),
        in_bytes(site.bytes_down),
        *([decimals(site.epsilon, 2)] if private else []),
        *([decimals(site.epsilon_alone, 2)] if joint else []),
        "; ".join(f"{reason} ({count}×)" for reason, count in reasons.most_common()) or NOTHING,
    ]
    return [Cell(text) for text in texts]


def _privacy(stated: PrivacyStatement | None) -> list[tuple[str, str]]:
    """What every epsilon above means, and what it does not."""
    if stated is None:
        return []
    return [
        ("ε is promised to", f"{stated.unit}; neighbours: {stated.relation}; delta {stated.delta:g}"),
        ("Mechanism", f"{stated.mechanism}, noise {stated.noise_multiplier:g}; {stated.sampling}"),
        ("Covered", f"{stated.scope}; against one who {stated.adversary}"),
        ("Accountant", stated.accountant),
        *([("Assumed", stated.assumption)] if stated.assumption else []),
        (
            "Several hospitals",
            stated.several_hospitals
            or f"declared: one person is at {stated.hospitals_per_patient} at most, and loses at each",
        ),
        ("Settings chosen on", f"{stated.tuned_on} data"),
    ]


def _facts(run: RunRecord, comparison: Comparison | None) -> list[tuple[str, str]]:
    """What must be the same for the weights to come out the same, and the weights."""
    compared = [("Seeds compared", ", ".join(map(str, comparison.seeds)))] if comparison else []
    return [
        ("Run", run.name),
        ("Started", run.started.strftime("%Y-%m-%d %H:%M:%S %Z").strip()),
        ("Engine", run.engine),
        ("Seed", str(run.seed)),
        *compared,
        *_privacy(run.privacy),
        ("Parameters", thousands(run.parameters)),
        ("Spec, SHA-256", run.spec_digest),
        ("Weights, SHA-256", run.weights_sha256),
    ]
