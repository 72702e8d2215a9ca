"""`quality.html`: the figures of a store and some of its rows on one page that loads nothing from anywhere.

It shows images and words of patients, so it is readable by its owner only and says so.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from markupsafe import Markup

from client.ingest.quality.exhibits import Exhibition
from client.ingest.quality.figures import Quality
from client.ingest.quality.gate import Check, Judgement
from common.files import write_whole
from common.page import asset, style, template
from common.store import Store

PACKAGE = "client.ingest.quality"
MOST_BARS = 12
WORD_BINS = (1, 5, 10, 20, 30, 50, 75, 100, 150, 200, 300, 500)
"""Least number of words of each bar but the first, which is 0."""


@dataclass(frozen=True)
class Bar:
    """One line of a bar chart; widths are per cent of the longest."""

    label: str
    count: int
    detail: str
    parts: Sequence[tuple[str, float]]
    """(class, width)"""


@dataclass(frozen=True)
class Chart:
    """Bars under a heading, with the meaning of their colours if there are several."""

    title: str
    bars: Sequence[Bar]
    note: str = ""
    keys: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Tile:
    """A figure to be seen first."""

    label: str
    value: str
    detail: str
    kind: str = ""


def write_page(path: Path, store: Store, judgement: Judgement) -> None:
    """Write the page to `path`, readable by its owner only."""
    write_whole(path, render(store, judgement).encode(), mode=0o600)


def render(store: Store, judgement: Judgement) -> str:
    """The page as HTML; the same store and thresholds always give the same text."""
    exhibition, quality = Exhibition(store), judgement.quality
    return template(PACKAGE, "page.html").render(
        quality=quality,
        checks=judgement.checks,
        summary=summary(quality),
        tiles=tiles(quality, judgement.checks),
        stages=[
            chart
            for chart in (_files(quality), _reports(quality), _scrubbed(quality), _rejected(quality))
            if chart.bars
        ],
        reports=[chart for chart in (_lengths(quality), _languages(quality)) if chart.bars],
        spread=[chart for chart in _spread(quality) if chart.bars],
        suspicions=exhibition.suspicions(quality),
        pairs=exhibition.random_pairs(),
        template=_template(exhibition, quality),
        facts=_facts(store, quality),
        style=Markup(style() + asset(PACKAGE, "page.css")),
    )


def summary(quality: Quality) -> str:
    """The store in one or two sentences."""
    stages = quality.stages
    held = f"{counted(stages.images, 'image')} and {counted(stages.reports, 'report')}"
    both = f"{stages.pairs:,} of {counted(stages.rows, 'row')} have both"
    return f"This store holds {held} of {counted(stages.patients, 'patient')}; {both}."


def tiles(quality: Quality, found: Sequence[Check]) -> list[Tile]:
    """The verdict and what stands behind it."""
    failed = sum(not check.passed for check in found)
    stages, images, texts = quality.stages, quality.images, quality.texts
    positions = sum(map(len, images.positions.values()))
    return [
        Tile(
            "Verdict",
            "Refused" if failed else "Fit to train",
            f"{failed} of {len(found)} thresholds failed" if failed else f"{len(found)} thresholds passed",
            "bad" if failed else "good",
        ),
        Tile("Pairs", f"{stages.pairs:,}", f"of {counted(stages.rows, 'row')}"),
        Tile("Patients", f"{stages.patients:,}", _listed(quality.spread.patients)),
        Tile(
            "Copies",
            f"{quality.duplicates.same_picture + quality.duplicates.same_picture_other_patient:,}",
            f"{quality.duplicates.same_picture_other_patient:,} at another patient",
            _warn(quality.duplicates.same_picture_other_patient),
        ),
        Tile("Position", f"{positions:,}", "radiographs seem inverted or turned", _warn(positions)),
        Tile(
            "Names?",
            f"{texts.suspicious_reports:,}",
            "reports with a suspect left",
            _warn(texts.suspicious_reports),
        ),
    ]


def _warn(count: int) -> str:
    return "warn" if count else ""


def _files(quality: Quality) -> Chart:
    stages = quality.stages
    given = [
        ("Files seen", stages.files_seen),
        ("DICOM files", stages.files_opened),
        ("Decoded", stages.files_decoded),
        ("Images stored", stages.images),
        ("With a report", stages.pairs if stages.images else None),
    ]
    return Chart("Images", _bars([(label, number) for label, number in given if number is not None]))


def _reports(quality: Quality) -> Chart:
    stages = quality.stages
    given = [
        ("Reports read", stages.reports_read),
        ("With an image", stages.reports_paired),
        ("Reports stored", stages.reports),
    ]
    note = "One text of one study is one report, however many images it describes."
    return Chart("Reports", _bars([(label, number) for label, number in given if number is not None]), note)


def _scrubbed(quality: Quality) -> Chart:
    kinds = {kind.lower(): count for kind, count in quality.stages.scrubbed.items()}
    return Chart("Taken out of the reports", _bars(_most(kinds)), "Identifiers, by kind, before storing.")


def _rejected(quality: Quality) -> Chart:
    reasons = {reason.replace("_", " "): count for reason, count in quality.stages.rejected.items()}
    return Chart("Rejected, by reason", _bars(_most(reasons)), "Listed file by file in rejected.parquet.")


def _lengths(quality: Quality) -> Chart:
    ends = [0, *WORD_BINS]
    labels = [
        *(f"{low}" if high == low + 1 else f"{low}–{high - 1}" for low, high in pairwise(ends)),
        f"{ends[-1]} or more",
    ]
    counts = [0] * len(ends)
    for words, number in quality.texts.words.items():
        counts[sum(words >= end for end in WORD_BINS)] += number
    last = max((at for at, count in enumerate(counts) if count), default=-1)
    return Chart("Words in a report", _bars(list(zip(labels, counts, strict=True))[: last + 1]))


def _languages(quality: Quality) -> Chart:
    return Chart(
        "Language",
        _bars(_most(quality.texts.languages)),
        "Told by small words; what is too short to tell is undecided.",
    )


def _spread(quality: Quality) -> Iterable[Chart]:
    spread = quality.spread
    yield Chart("Modality", _bars(_most(spread.modality)))
    yield Chart("View", _bars(_most(spread.view)))
    yield Chart("Split", _bars(_most(spread.split)), f"Patients: {_listed(spread.patients)}.")
    yield _entities(spread.entities)


def _entities(found: Mapping[str, tuple[int, int, int]]) -> Chart:
    shown = list(found.items())[: 2 * MOST_BARS]
    longest = max((sum(said) for _, said in shown), default=1)
    bars = [
        Bar(
            label=entity,
            count=sum(said),
            detail=f"{said[0]:,} yes, {said[1]:,} perhaps, {said[2]:,} no",
            parts=[
                (kind, 100 * count / longest)
                for kind, count in zip(("yes", "perhaps", "no"), said, strict=True)
            ],
        )
        for entity, said in shown
    ]
    note = f"Findings and devices by number of reports; {len(shown)} of {len(found)} are shown."
    keys = [("yes", "said to be there"), ("perhaps", "uncertain"), ("no", "said to be absent")]
    return Chart("What the reports speak of", bars, note, keys)


def _bars(given: Sequence[tuple[str, int]]) -> list[Bar]:
    longest = max((count for _, count in given), default=0) or 1
    return [Bar(label, count, "", [("", 100 * count / longest)]) for label, count in given]


def _most(distribution: Mapping[str, int]) -> list[tuple[str, int]]:
    """The most frequent, the rest as one."""
    items = list(distribution.items())
    if len(items) <= MOST_BARS:
        return items
    rest = items[MOST_BARS - 1 :]
    return [*items[: MOST_BARS - 1], (f"{len(rest)} others", sum(count for _, count in rest))]


def _template(exhibition: Exhibition, quality: Quality) -> dict[str, object]:
    """The most frequent text, if any comes twice."""
    rows = quality.texts.template
    if not rows:
        return {}
    return {
        "words": exhibition.show(rows[0]).words,
        "count": len(rows),
        "share": f"{100 * quality.texts.template_share:.3g} %",
    }


def _facts(store: Store, quality: Quality) -> list[tuple[str, str]]:
    return [
        ("Store", quality.name),
        ("Images", f"{store.images.shape[-1]} × {store.images.shape[-1]} pixels"),
        ("Rows", f"{quality.stages.rows:,}"),
        ("Content, SHA-256", quality.digest),
    ]


def counted(number: int, noun: str) -> str:
    """`1 image`, `1,200 images`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _listed(distribution: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in distribution.items())
