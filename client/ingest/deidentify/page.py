"""A stretch of a report as the detectors read it: its words, folded, and where they stand."""

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

from common.text.placeholders import TOKEN

WORD = re.compile(
    r"[^\W\d_][^\W\d_\u0300-\u036f\u00ad\u200b-\u200d]*(?:[\u0300-\u036f\u00ad\u200b-\u200d]+[^\W\d_]*)*"
)
"""A run of letters, with the accents and soft hyphens that stand apart."""

DIGITS = re.compile(r"\d+")

UNDECOMPOSED = str.maketrans(
    {"ß": "ss", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i", "ŋ": "n"}
)
"""Letters whose plain form Unicode does not know."""

REACH = 160
"""Characters on either side of a word that may decide about it; more than any detector looks at."""


def fold(word: str) -> str:
    """Small letters without accents: "Müller" -> "muller", "WEISS" and "Weiß" -> "weiss"."""
    if word.isascii():
        return word.lower()
    plain = unicodedata.normalize("NFKD", word.casefold().translate(UNDECOMPOSED))
    return "".join(letter for letter in plain if letter.isalpha()).translate(UNDECOMPOSED)


class Word(NamedTuple):
    """A word at characters `start` to `end`."""

    start: int
    end: int
    folded: str


class Page:
    """A text and its words, those of tokens such as [NAME] left aside."""

    def __init__(self, text: str) -> None:
        """Read `text`."""
        self.text = text
        words = [Word(m.start(), m.end(), fold(m[0])) for m in WORD.finditer(text)]
        if "[" in text:
            inside = {match.start(1) for match in TOKEN.finditer(text)}
            words = [word for word in words if word.start not in inside]
        self.words = words

    @cached_property
    def numbers(self) -> list[int]:
        """Where the runs of digits begin."""
        return [match.start() for match in DIGITS.finditer(self.text)]

    def at_numbers(self, pattern: re.Pattern[str]) -> Iterator[re.Match[str]]:
        """Matches of `pattern` that begin with a run of digits, none inside another.

        As `pattern.finditer`, and many times as fast: most of a report is no digit.
        """
        reached = 0
        for start in self.numbers:
            if start >= reached and (match := pattern.match(self.text, start)):
                reached = match.end()
                yield match

    def at_words(self, listed: frozenset[str], pattern: re.Pattern[str]) -> Iterator[re.Match[str]]:
        """Matches of `pattern` that begin with one of the `listed` words, folded."""
        for word in self.words:
            if word.folded in listed and (match := pattern.match(self.text, word.start)):
                yield match

    @cached_property
    def _starts(self) -> list[int]:
        return [word.start for word in self.words]

    def word_from(self, position: int) -> int:
        """Index of the first word that starts at `position` or later; `len(words)` if there is none."""
        return bisect_left(self._starts, position)

    def gap(self, first: int, second: int) -> str:
        """What stands between the words with these indices."""
        return self.text[self.words[first].end : self.words[second].start]

    def written(self, word: Word) -> str:
        """The word as it stands in the text."""
        return self.text[word.start : word.end]

    def before(self, position: int, reach: int = REACH) -> str:
        """The `reach` characters before `position`."""
        return self.text[max(0, position - reach) : position]

    def after(self, position: int, reach: int = REACH) -> str:
        """The `reach` characters from `position` on."""
        return self.text[position : position + reach]

    def is_capitalised(self, word: Word) -> bool:
        """Tell whether the word begins with a capital."""
        return self.text[word.start].isupper()

    def is_shouted(self, word: Word) -> bool:
        """Tell whether the word has two letters or more, all capitals."""
        return word.end - word.start > 1 and self.written(word).isupper()

    def shouts_around(self, word: Word) -> bool:
        """Tell whether the words around are all in capitals, so that capitals say nothing."""
        letters = self.before(word.start, 40).rsplit("\n", 1)[-1] + self.after(word.end, 40).split("\n", 1)[0]
        letters = TOKEN.sub("", letters)
        small = sum(letter.islower() for letter in letters)
        return small * 4 <= sum(letter.isupper() for letter in letters)

    def opens_sentence(self, word: Word) -> bool:
        """Tell whether a sentence, a line, a list item or a quotation begins here."""
        before = self.before(word.start, 24).rstrip(" \t\"'“”„«»([*•-–—")
        return not before or before[-1] in ".!?:;\n\r|" or bool(LIST_MARK.search(before))


LIST_MARK = re.compile(r"(?:^|[\n\r.;:])\s*\(?(?:\d{1,2}|[a-zA-Z])\)$")
