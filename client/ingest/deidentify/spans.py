"""What is to be removed: spans of a text, and how those that belong together become one."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from common.text.placeholders import Kind

JOINTS = {
    Kind.NAME: re.compile(r"[ \t]*,?[ \t]*(?:\r?\n)?[ \t]*|[ \t]?[-/^&'’`´][ \t]?(?:\r?\n)?[ \t]?"),
    Kind.PLACE: re.compile(r"[ \t]*,?[ \t]*(?:\r?\n)?[ \t]*|-"),
}
"""Kind -> what may stand between two spans of that kind that become one."""
WIDEST_JOINT = 4
AFTER_INITIAL = re.compile(r"\.[ \t]?-?")
BESIDE_TIME = frozenset(
    ("", ",", "at", "on", "um", "à", "a las", "alle", "-", "T", "le", "am", "den", "el", "of")
)
"""What may stand between a date and its time."""


class Span(NamedTuple):
    """Characters `start` to `end` of a text, and what they are."""

    start: int
    end: int
    kind: Kind


def merge(spans: Iterable[Span], text: str) -> list[Span]:
    """Order `spans` and unite those that overlap or stand side by side, so that nothing half-removed stays.

    Of spans that overlap the longest gives the kind. "LONG, JOHN" is one name, "3 May 2020, 10:15" one date.
    """
    merged: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.start, -span.end)):
        if merged and (joined := _union(merged[-1], span, text)):
            merged[-1] = joined
        else:
            merged.append(span)
    return merged


def _union(first: Span, second: Span, text: str) -> Span | None:
    end = max(first.end, second.end)
    if second.start < first.end:
        return Span(first.start, end, _stronger(first, second).kind)
    gap = text[first.end : second.start]
    if {first.kind, second.kind} == {Kind.DATE, Kind.TIME}:
        return Span(first.start, end, Kind.DATE) if gap.strip() in BESIDE_TIME else None
    if first.kind is not second.kind or first.kind not in JOINTS or len(gap) > WIDEST_JOINT:
        return None
    initial = first.kind is Kind.NAME and text[first.end - 2 : first.end - 1] in ("", " ", ".", "\n")
    if JOINTS[first.kind].fullmatch(gap) or (initial and AFTER_INITIAL.fullmatch(gap)):
        return Span(first.start, end, first.kind)
    return None


def _stronger(first: Span, second: Span) -> Span:
    """A date before a number, which every date also is; else the longer."""
    for one, other in ((first, second), (second, first)):
        if one.kind is Kind.DATE and other.kind in (Kind.ID, Kind.PHONE):
            return one
    return first if first.end - first.start >= second.end - second.start else second
