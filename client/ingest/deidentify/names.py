"""Names that no header told us, known by what stands before or after them."""

import re
from collections.abc import Iterator

from client.ingest.deidentify.lexicon import HEADS, no_name, ordinary
from client.ingest.deidentify.page import Page, Word
from client.ingest.deidentify.spans import Span
from client.ingest.deidentify.titles import CUE_WORDS, CUES, FIELD_WORDS, FIELDS, TITLE_WORDS, title_end
from client.ingest.deidentify.vocabulary import PLAIN, words
from common.text.placeholders import Kind

LONGEST_NAME = 5
"""Words of a name after a title or a label."""

PARTICLES = words(
    """
    van von der den de del della di da dos das du la le los al el bin ibn abu ben ter ten zu zum zur y e san
    st
    """
)
"""Small words inside names."""

CLINICAL_ENDINGS = (
    *(
        "itis",
        "osis",
        "emia",
        "aemia",
        "pathy",
        "ectomy",
        "ostomy",
        "otomy",
        "plasty",
        "graphy",
        "gram",
        "scopy",
    ),
    *("ular", "eal", "uria", "algia", "plegia", "trophy", "suppressed", "logy", "logist", "therapy", "genic"),
)
"""Ends of words that are hardly ever names."""

BETWEEN = re.compile(r"(?:[ \t]*\r?\n[ \t]*|[ \t]+|\.[ \t]?|[-'’][ \t]?|[ \t]?-[ \t]?)")
"""What may stand between the words of one name."""
LISTED = re.compile(r"(?:[ \t]*,[ \t]*\r?\n?[ \t]*|\^)")
"""Between family and given name; "&" and "and" part two people."""
AND = frozenset(("and", "und", "et", "y"))

CREDENTIALS = re.compile(
    r"(?<=[^\W\d_.])(?:,[ \t]*|[ \t]+)"
    r"(?:M\.?D\.?|D\.O\.|Ph\.?D\.?|MBBS|MBChB|FRCR|FRCPC|DABR|FACR|R\.N\.|PA-C|MSc)(?![^\W_])"
)
"""What stands after the names of those who sign."""


def spoken_names(page: Page) -> Iterator[Span]:
    """Names after titles ("Dr. X"), in signatures ("dictated by X", "X, MD"), after labels ("Patient: X")."""
    for index, (start, _, folded) in enumerate(page.words):
        if folded in TITLE_WORDS and (name := title_end(page, index)) is not None:
            yield from _people_from(page, name, titled=True)
        if folded in CUE_WORDS and (cue := CUES.match(page.text, start)):
            yield from _people_from(page, cue.end(), titled=False)
        if folded in FIELD_WORDS and (field := FIELDS.match(page.text, start)):
            yield from _people_from(page, field.end(), titled=False)
    for match in CREDENTIALS.finditer(page.text):
        yield from _name_before(page, match.start())


def _people_from(page: Page, position: int, *, titled: bool) -> Iterator[Span]:
    """The name that begins at `position`, and the further ones of a list."""
    index = page.word_from(position)
    for _ in range(LONGEST_NAME):
        if index >= len(page.words) or page.words[index].start != position:
            return
        last = _name_end(page, index, titled=titled)
        if last is None:
            return
        end = page.words[last].end
        yield Span(position, end + (last > index and _is_initial(page, page.words[last])), Kind.NAME)
        following = _after_and(page, last)
        if following is None:
            return
        index, position, titled = following, page.words[following].start, False


def _after_and(page: Page, last: int) -> int | None:
    """The word after "and", where one follows the name: "Drs. Smith and Jones"."""
    following = last + 2
    if following < len(page.words) and page.words[last + 1].folded in AND:
        gaps = page.gap(last, last + 1) + page.gap(last + 1, following)
        return following if gaps.isspace() else None
    return None


def _name_end(page: Page, index: int, *, titled: bool) -> int | None:
    """Index of the last word of the name whose first word has this index; None if it is no name."""
    if title_end(page, index) is not None:  # "signed by Dr. X" is the title's
        return None
    is_small = not page.is_capitalised(page.words[index])
    last, sure, namelike = None, titled, 0
    for place in range(index, min(index + LONGEST_NAME, len(page.words))):
        if place > index and not _goes_on(
            page, place, listed=not titled or page.is_shouted(page.words[index])
        ):
            break
        word = page.words[place]
        if _is_initial(page, word):
            last = place if _stops(page, word) else last  # without, only before a further name: "Mary J Long"
        elif word.folded in PARTICLES and place + 1 < len(page.words):
            continue
        elif not _fits(page, place, first=place == index, titled=titled, is_small=is_small):
            break
        else:
            sure = sure or (
                word.folded not in ordinary() and not (page.is_shouted(word) and len(word.folded) < 4)
            )
            last, namelike = place, namelike + 1
        if is_small and last is not None and last > index:
            break
    return last if sure or namelike > 1 else None


def _goes_on(page: Page, place: int, *, listed: bool) -> bool:
    if CREDENTIALS.match(page.text, page.words[place - 1].end):
        return False
    gap = page.gap(place - 1, place)
    return bool(BETWEEN.fullmatch(gap) or (listed and LISTED.fullmatch(gap)))


def _is_initial(page: Page, word: Word) -> bool:
    return word.end - word.start == 1 and page.is_capitalised(word) and not page.after(word.end, 1).isdigit()


def _stops(page: Page, word: Word) -> bool:
    return page.after(word.end, 1) == "."


def _fits(page: Page, place: int, *, first: bool, titled: bool, is_small: bool) -> bool:
    """Tell whether the word can be part of a name at this place."""
    word = page.words[place]
    folded = word.folded
    if folded.endswith(CLINICAL_ENDINGS) or _is_label(page, word):
        return False
    if is_small:
        return folded not in ordinary() and len(folded) > 1 and not page.is_capitalised(word)
    if not page.is_capitalised(word) or title_end(page, place) is not None:
        return False
    if first:
        return folded not in no_name() or (titled and folded in PLAIN and _follows_small_title(page, place))
    return folded not in no_name() and not _has_head(page, place)


def _is_label(page: Page, word: Word) -> bool:
    return page.after(word.end, 3).lstrip(" \t").startswith(":")


def _follows_small_title(page: Page, place: int) -> bool:
    """Tell "Mr. Frame" from "on MR. Masses": after such a title even a word of reports is a name."""
    shouted = place == 0 or page.is_shouted(page.words[place - 1])
    return not shouted and len(page.words[place].folded) > 3 and not _has_head(page, place)


def _has_head(page: Page, place: int) -> bool:
    following = page.words[place + 1 : place + 2]
    return bool(following and following[0].folded in HEADS and page.gap(place, place + 1).isspace())


def _name_before(page: Page, position: int) -> Iterator[Span]:
    """The name that ends at `position`: what stands before ", MD"."""
    end = page.word_from(position)
    first, sure = end, False
    for place in range(end - 1, max(-1, end - LONGEST_NAME), -1):
        word = page.words[place]
        gap = page.gap(place, place + 1) if place < end - 1 else " "
        if not BETWEEN.fullmatch(gap) and not LISTED.fullmatch(gap):
            break
        if not page.is_capitalised(word) or word.folded in no_name() or title_end(page, place) is not None:
            break
        first, sure = place, sure or word.folded not in ordinary()
    if sure and page.words[end - 1].end == position:
        yield Span(page.words[first].start, position, Kind.NAME)
