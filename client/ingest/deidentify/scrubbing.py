"""The whole of it: every detector over every stretch of a report, until nothing more is found."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from client.ingest.deidentify.dates import dates
from client.ingest.deidentify.identifiers import Identifiers, Known, prepare
from client.ingest.deidentify.known import known_spans
from client.ingest.deidentify.names import spoken_names
from client.ingest.deidentify.numbers import numbers
from client.ingest.deidentify.page import Page
from client.ingest.deidentify.places import places
from client.ingest.deidentify.spans import Kind, Span, merge

STRETCH = 1 << 15
"""Characters read at once, so that a report of any length costs memory for this many."""
MARGIN = 1 << 10
"""Characters read beyond either end of a stretch; more than a detector ever needs to judge a word."""
MOST_ROUNDS = 8
"""One round finds all but what only a removal shows ("Dr. [NAME] Long"); four were never needed."""


@dataclass(frozen=True)
class Scrubbed:
    """A report without identifiers."""

    text: str
    counts: Mapping[Kind, int]
    """How many tokens of each kind came in; a kind without any is left out."""


def scrub(text: str, identifiers: Identifiers) -> Scrubbed:
    """Put a token such as [NAME] or [DATE] in the place of every identifier; every other character stays.

    Scrubbing again changes nothing. Time grows with the length of the text, about a millisecond for an
    ordinary report; memory beyond the text itself does not.

    Args:
        text: one report, or a part of one; tokens of an earlier scrub stay as they are.
        identifiers: what the headers of the study, and the report's own record, say.
    """
    known = prepare(identifiers)
    counts: Counter[Kind] = Counter()
    for _ in range(MOST_ROUNDS):
        before, text = text, _once(text, known, counts)
        if text == before:
            break
    return Scrubbed(text, {kind: count for kind, count in sorted(counts.items()) if count})


def _once(text: str, known: Known, counts: Counter[Kind]) -> str:
    pieces, end = [], 0
    for span, is_new in _spans(text, known):
        pieces += [text[end : span.start], span.kind.token]
        end = span.end
        counts[span.kind] += is_new
    return "".join([*pieces, text[end:]])


def _spans(text: str, known: Known) -> Iterator[tuple[Span, bool]]:
    """What to replace, in order; False for tokens that were there."""
    old: set[Span] = set()
    found: list[Span] = []
    for begin in range(0, max(1, len(text)), STRETCH):
        first = max(0, begin - MARGIN)
        page = Page(text[first : begin + STRETCH + MARGIN])
        own = range(begin - first, begin - first + STRETCH)
        moved = [
            Span(s.start + first, s.end + first, s.kind) for s in _on_page(page, known) if s.start in own
        ]
        old.update(Span(s.start + first, s.end + first, s.kind) for s in page.tokens)
        found += moved
    for span in merge([*found, *old], text):
        yield span, span not in old


def _on_page(page: Page, known: Known) -> Iterator[Span]:
    yield from known_spans(page, known)
    yield from spoken_names(page)
    yield from dates(page)
    yield from numbers(page)
    yield from places(page)
