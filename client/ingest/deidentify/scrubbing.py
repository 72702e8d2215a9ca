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
from client.ingest.deidentify.spans import Span, merge
from client.ingest.deidentify.stretches import in_stretches
from common.text.placeholders import TOKEN, Kind

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
    ordinary report, a minute and a half for 50 million characters.

    Args:
        text: one report, or a part of one; tokens of an earlier scrub stay as they are.
        identifiers: what the headers of the study, and the report's own record, say.
    """
    known, scrubbed = prepare(identifiers), text
    for _ in range(MOST_ROUNDS):
        before, scrubbed = scrubbed, _once(scrubbed, known)
        if scrubbed == before:
            break
    return Scrubbed(scrubbed, dict(sorted((_tokens(scrubbed) - _tokens(text)).items())))


def _tokens(text: str) -> Counter[Kind]:
    return Counter(Kind(match[1]) for match in TOKEN.finditer(text))


def _once(text: str, known: Known) -> str:
    pieces, end = [], 0
    for span in removals(text, known):
        pieces += [text[end : span.start], span.kind.token]
        end = span.end
    return "".join([*pieces, text[end:]])


def removals(text: str, known: Known) -> list[Span]:
    """What one round replaces, in order, tokens that were there included."""
    found = in_stretches(text, lambda piece: _on_page(Page(piece), known))
    old = (Span(match.start(), match.end(), Kind(match[1])) for match in TOKEN.finditer(text))
    return merge([*found, *old], text)


def _on_page(page: Page, known: Known) -> Iterator[Span]:
    yield from known_spans(page, known)
    yield from spoken_names(page)
    yield from dates(page)
    yield from numbers(page)
    yield from places(page)
