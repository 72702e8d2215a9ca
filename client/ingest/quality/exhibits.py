"""What a page shows of a store: rows as small pictures with their words beside them."""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from markupsafe import Markup, escape
from PIL import Image

from client.ingest.deidentify import Span
from client.ingest.quality.figures import Quality
from client.ingest.quality.language import UNDECIDED
from client.ingest.quality.measure import first_channel
from client.ingest.quality.texts import Report, residual
from common.store import NO_IMAGE, Store
from common.text.sections import training_text

RANDOM = 24
"""Pairs drawn at random."""
EACH = 12
"""Exhibits of one suspicion, at most."""
PIXELS = 144
"""Longest side of a picture on the page."""
LETTERS = 420
"""Of a report that are shown."""
AROUND = 70
"""Letters shown before and after a suspect."""


@dataclass(frozen=True)
class Exhibit:
    """One row of the store."""

    row: int
    picture: str
    """PNG as a data URI; "" without an image."""
    about: str
    """Modality, view and split."""
    words: Markup
    """The report, or what matters of it; empty without one."""
    note: str = ""


@dataclass(frozen=True)
class Suspicion:
    """Rows that somebody should look at, for one reason."""

    title: str
    why: str
    total: int
    groups: Sequence[Sequence[Exhibit]]
    """Each a row by itself, or the two rows of a pair."""

    @property
    def shown(self) -> int:
        """How many of `total` are on the page."""
        return len(self.groups)


class Exhibition:
    """Exhibits of one store."""

    def __init__(self, store: Store) -> None:
        self._images = first_channel(store.images)
        self._places = store.column("image")
        self._sections = store.sections()
        self._about = [
            " · ".join(part for part in (modality, view, split) if part)
            for modality, view, split in zip(
                store.column("modality"), store.column("view"), store.column("split"), strict=True
            )
        ]
        self._patients = store.column("patient")
        self._seed = int(store.digest()[:16], 16)

    def show(self, row: int, note: str = "") -> Exhibit:
        """The row `row`."""
        text = training_text(self._sections[row]) or "\n".join(self._sections[row].values())
        cut = text if len(text) <= LETTERS else text[: LETTERS - 1].rsplit(" ", 1)[0] + " …"
        return Exhibit(row, self._picture(row), self._about[row], escape(cut), note)

    def random_pairs(self) -> list[Exhibit]:
        """The same ones each time, in order of the rows."""
        paired = [
            row for row, sections in enumerate(self._sections) if sections and self._places[row] != NO_IMAGE
        ]
        chosen = np.random.default_rng(self._seed).permutation(len(paired))[:RANDOM]
        return [self.show(paired[at]) for at in sorted(chosen)]

    def suspicions(self, quality: Quality) -> list[Suspicion]:
        """Everything of `quality` that can be looked at and is not nothing, the gravest first."""
        return [suspicion for suspicion in self._suspicions(quality) if suspicion.total]

    def _suspicions(self, quality: Quality) -> Iterable[Suspicion]:
        images, duplicates, texts = quality.images, quality.duplicates, quality.texts
        yield self._rows(
            "Patients in two splits",
            "Evaluation would ask about people that the model was trained on.",
            quality.spread.patients_in_two_splits,
        )
        yield self._residual(texts.identifier_suspects)
        for position, rows in images.positions.items():
            yield self._rows(
                f"Seems {position}",
                "Fits the mean of its kind clearly better when it is put right.",
                rows,
            )
        yield Suspicion(
            "One picture, two patients",
            "The same picture stands under two patient pseudonyms: a mix-up, or one person with two numbers.",
            duplicates.same_picture_other_patient,
            [[self.show(one), self.show(other)] for one, other in duplicates.across_patients[:EACH]],
        )
        yield self._rows("Blank images", "One grey from edge to edge.", images.blank)
        yield self._rows(
            "Almost empty images",
            "What is shown fills less than a fifth, or was a thumbnail.",
            images.small,
        )
        yield self._rows(
            "Text in the picture",
            "Found by ingest, or announced by the header, and left in: does it name anybody?",
            images.text_in_pixels,
        )
        yield self._rows("Reports without text to train on", "No findings, no impression.", texts.empty)
        for language in sorted(texts.language_rows.keys() - {UNDECIDED}):
            rows = texts.language_rows[language]
            yield self._rows(f"Language: {language}", "Unlike most reports of this store.", rows)

    def _rows(self, title: str, why: str, rows: Sequence[int]) -> Suspicion:
        return Suspicion(title, why, len(rows), [[self.show(row)] for row in rows[:EACH]])

    def _residual(self, found: Mapping[str, Sequence[int]]) -> Suspicion:
        rows = sorted({row for kind in found.values() for row in kind})
        shown = [
            Report(row, self._patients[row], self._sections[row]) for row in self._spread_over_kinds(found)
        ]
        spans = residual(shown)
        return Suspicion(
            "May still name somebody",
            "Found by a second look that is generous: eponyms and places are among them.",
            len(rows),
            [
                [replace(self.show(report.row), words=marked(report.whole, spans[report.row]))]
                for report in shown
                if report.row in spans
            ],
        )

    def _spread_over_kinds(self, found: Mapping[str, Sequence[int]]) -> list[int]:
        """Some rows of every kind, names first."""
        kinds = sorted(found, key=lambda kind: (kind != "NAME", kind))
        turns = (found[kind][turn] for turn in range(EACH) for kind in kinds if turn < len(found[kind]))
        return list(islice(dict.fromkeys(turns), EACH))

    def _picture(self, row: int) -> str:
        place = int(self._places[row])
        return "" if place == NO_IMAGE else png(self._images[place])


def png(grey: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> str:
    """(S, S) as a data URI, no larger than PIXELS a side."""
    picture = Image.fromarray(np.ascontiguousarray(grey))
    picture.thumbnail((PIXELS, PIXELS), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def marked(text: str, spans: Sequence[Span]) -> Markup:
    """`text` around the spans, these in `<mark>`; what is left out becomes an ellipsis."""
    pieces, at = [], 0
    for span in spans:
        start = max(at, span.start - AROUND)
        pieces += [Markup("… ") if start > at else Markup(""), escape(text[start : span.start])]
        pieces += [Markup("<mark>"), escape(text[span.start : span.end]), Markup("</mark>")]
        at = span.end
        if len(pieces) > 24:
            break
    pieces += [escape(text[at : at + AROUND]), Markup(" …") if at + AROUND < len(text) else Markup("")]
    return Markup("").join(pieces)
