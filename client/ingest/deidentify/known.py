"""Where a report repeats what the headers of its study tell."""

import re
from collections.abc import Iterator
from itertools import pairwise

from client.ingest.deidentify.identifiers import SHORTEST_LONG_NAME, SIDES, Known
from client.ingest.deidentify.lexicon import EPONYMS, familiar, ordinary
from client.ingest.deidentify.page import Page, Word
from client.ingest.deidentify.sense import meant_as_names
from client.ingest.deidentify.spans import Span
from common.text.placeholders import Kind


def known_spans(page: Page, known: Known) -> Iterator[Span]:
    """Everything on the page that repeats a header."""
    yield from _known_words(page, known)
    yield from _known_literals(page, known)
    yield from _known_ids(page, known)
    if page.numbers:
        yield from _known_days(page, known)


def _known_words(page: Page, known: Known) -> Iterator[Span]:
    """Names and institutions, however they are written."""
    if not known.beginnings:
        return
    sure: set[int] = set()
    doubtful: list[int] = []
    slips: dict[str, bool] = {}
    for index, word in enumerate(page.words):
        folded = word.folded
        if folded in known.names:
            sure.add(index)
        elif folded in known.ambiguous:
            doubtful.append(index)
        elif folded in known.places:
            yield Span(word.start, word.end, Kind.PLACE)
        elif len(folded) >= SHORTEST_LONG_NAME - 1 and _is_slip(page, word, known, slips):
            if folded[:-1] in EPONYMS:  # "Hodgkins"
                doubtful.append(index)
            else:
                sure.add(index)
        if folded in known.beginnings and (span := _written_apart(page, index, known)):
            yield span
            if span.kind is Kind.NAME:
                sure.update(range(index, page.word_from(span.end)))
    sure.update(meant_as_names(page, known, sure, doubtful))
    for index in sure:
        yield from _with_initials(page, index, known)


def _is_slip(page: Page, word: Word, known: Known, slips: dict[str, bool]) -> bool:
    """Tell whether the word is a name with one slip, or a long name grown together with something."""
    folded = word.folded
    if folded not in slips:
        slips[folded] = folded not in familiar() and any(
            one_slip(folded, name) or (len(name) >= SHORTEST_LONG_NAME and name in folded)
            for name in known.long
        )
    return slips[folded] and (len(folded) >= SHORTEST_LONG_NAME or page.is_capitalised(word))


def one_slip(word: str, name: str) -> bool:
    """Tell whether one letter put in, left out, replaced or swapped with the next makes `word` of `name`."""
    if abs(len(word) - len(name)) > 1:
        return False
    at = next(
        (at for at, (a, b) in enumerate(zip(word, name, strict=False)) if a != b), min(len(word), len(name))
    )
    rest, other = word[at:], name[at:]
    return (
        rest[1:] == other[1:]
        or rest[1:] == other
        or rest == other[1:]
        or (rest[:2] == other[1::-1] and rest[2:] == other[2:])
    )


JOINT = re.compile(r"[ \t]*\r?\n[ \t]*|[\s\-‐-―'’‘`´.·_^,]{0,3}(?:\r?\n[ \t]*)?|[?\ufffd]{1,2}")
"""What may stand between the pieces of one name: "O'Brien", "Smith-\nJones", "S Z A B O"."""
BROKEN = re.compile(r"[?\ufffd]{1,2}")
"""Where a letter was lost: "M?ller"."""


def _written_apart(page: Page, index: int, known: Known) -> Span | None:
    """A name or an institution whose letters are those of several words from this one on."""
    if page.before(page.words[index].start, 1).isdigit():
        return None
    word, spelt, last = page.words[index], page.words[index].folded, index
    while spelt in known.beginnings and last + 1 < len(page.words):
        gap = page.gap(last, last + 1)
        if not JOINT.fullmatch(gap):
            return None
        last += 1
        spelt += page.words[last].folded
        if BROKEN.fullmatch(gap) and any(one_slip(spelt, name) for name in known.long):
            return Span(word.start, page.words[last].end, Kind.NAME)
        if spelt in known.places:
            return Span(word.start, page.words[last].end, Kind.PLACE)
        if spelt in known.names | known.ambiguous and _is_one(page, index, last, known):
            return Span(word.start, page.words[last].end, Kind.NAME)
    return None


def _is_one(page: Page, first: int, last: int, known: Known) -> bool:
    """Tell whether these words are the pieces of one name, not "in" and "man" for Mr Inman."""
    words = page.words[first : last + 1]
    if all(word.folded in known.names or word.folded in known.ambiguous for word in words):
        return False
    between = page.text[words[0].end : words[-1].start]
    return not between.isspace() or any(
        word.folded not in ordinary() and len(word.folded) > 1 for word in words
    )


INITIAL_BEFORE = re.compile(r"\.[ \t]?-?|[ \t]|-")
INITIAL_AFTER = re.compile(r",?[ \t]+|,|-")
MOST_INITIALS = 4
"""Initials and particles on one side of a name."""


def _with_initials(page: Page, index: int, known: Known) -> Iterator[Span]:
    """The name with this index, the initials and the particles beside it: "J. K. van der Long"."""
    word = page.words[index]
    yield Span(word.start, word.end, Kind.NAME)
    first = index
    while first > max(0, index - MOST_INITIALS) and _leads(page, first - 1, known):
        first -= 1
        yield Span(page.words[first].start, page.words[first].end, Kind.NAME)
    last = index
    while last + 1 < min(len(page.words), index + 1 + MOST_INITIALS) and _trails(page, last + 1, known):
        last += 1
        end = page.words[last].end
        yield Span(page.words[last].start, end + (page.after(end, 1) == "."), Kind.NAME)


def _leads(page: Page, index: int, known: Known) -> bool:
    """Tell whether the word is an initial or a particle of the name after it."""
    word, gap = page.words[index], page.gap(index, index + 1)
    if word.folded in known.particles and len(word.folded) > 1:
        return gap.isspace() or gap in ("-", "'", "’")
    if not _is_letter(page, word) or not INITIAL_BEFORE.fullmatch(gap):
        return False
    return gap.startswith(".") or (word.folded in known.initials and word.folded not in SIDES)


def _trails(page: Page, index: int, known: Known) -> bool:
    """Tell whether the word is an initial of the name before it."""
    word = page.words[index]
    if not _is_letter(page, word) or not INITIAL_AFTER.fullmatch(page.gap(index - 1, index)):
        return False
    if page.after(word.end, 1) == ".":
        return word.folded in known.initials or word.folded not in SIDES
    return word.folded in known.initials and word.folded not in SIDES


def _is_letter(page: Page, word: Word) -> bool:
    alone = not page.after(word.end, 1).isdigit() and not page.before(word.start, 1).strip(" \t\r\n(,.-")
    return alone and word.end - word.start == 1 and page.is_capitalised(word)


def _known_literals(page: Page, known: Known) -> Iterator[Span]:
    for literal in known.literals:
        for match in re.finditer(re.escape(literal), page.text, re.IGNORECASE):
            yield Span(match.start(), match.end(), Kind.NAME)


INSIDE_ID = re.compile(r"[\s\-‐-―./_:]{0,3}")
"""What may stand between two characters of an identifier: "84-78 921"."""


def _known_ids(page: Page, known: Known) -> Iterator[Span]:
    """Identifiers, with or without separators, letters before and leading zeros."""
    squeezed = "".join(filter(str.isalnum, page.text)) if known.ids else ""
    capitals = squeezed.upper()
    squeezed = capitals if len(capitals) == len(squeezed) else squeezed  # "ß" has two letters for a capital
    if not any(number in squeezed for number in known.ids):
        return
    places = [place for place, letter in enumerate(page.text) if letter.isalnum()]
    for number in known.ids:
        at = squeezed.find(number)
        while at >= 0:
            inside = places[at : at + len(number)]
            if _is_whole_id(page.text, inside):
                yield Span(_with_zeros(page.text, inside[0]), inside[-1] + 1, Kind.ID)
            at = squeezed.find(number, at + 1)


def _is_whole_id(text: str, places: list[int]) -> bool:
    first, last = places[0], places[-1]
    gaps = pairwise(places)
    if any(after - before > 4 or not INSIDE_ID.fullmatch(text, before + 1, after) for before, after in gaps):
        return False
    begin = _with_zeros(text, first)
    glued_before = begin > 0 and _same_sort(text[begin - 1], text[first])
    return not glued_before and not (last + 1 < len(text) and _same_sort(text[last], text[last + 1]))


def _same_sort(one: str, other: str) -> bool:
    return (one.isdigit() and other.isdigit()) or (one.isalpha() and other.isalpha())


def _with_zeros(text: str, start: int) -> int:
    while start > 0 and text[start - 1] == "0":
        start -= 1
    return start


def _known_days(page: Page, known: Known) -> Iterator[Span]:
    patterns = [rf"(?<![\w./-]){re.escape(day)}(?![\w/-])" for day in known.days if day in page.text]
    patterns += [
        rf"(?<![\w.,/-]){year}(?![\w/-]|[.,]\d|\s*(?:[cm]?m|HU|ml|mg)\b)"
        for year in known.birth_years
        if year in page.text
    ]
    for pattern in patterns:
        yield from (Span(match.start(), match.end(), Kind.DATE) for match in re.finditer(pattern, page.text))
