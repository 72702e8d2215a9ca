"""Long texts a stretch at a time, so that a report of any length costs little memory."""

from collections.abc import Callable, Iterable, Iterator

from client.ingest.deidentify.spans import Span

STRETCH = 1 << 15
"""Characters read at once."""
MARGIN = 1 << 12
"""Characters read beyond either end of a stretch; more than a detector needs to judge what begins in it."""


def in_stretches(text: str, find: Callable[[str], Iterable[Span]]) -> Iterator[Span]:
    """What `find` finds in `text`, as if it had read the whole; of each stretch, what begins in it."""
    for begin in range(0, len(text), STRETCH):
        first = max(0, begin - MARGIN)
        own = range(begin - first, begin - first + STRETCH)
        for span in find(text[first : begin + STRETCH + MARGIN]):
            if span.start in own:
                yield Span(span.start + first, span.end + first, span.kind)
