"""What the headers of a study tell about its people, and the ways in which a report may spell it."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, permutations

from client.ingest.deidentify.lexicon import familiar, ordinary
from client.ingest.deidentify.page import Page, fold
from client.ingest.deidentify.vocabulary import words

NO_NAMES = words(
    """
    dr prof professor doctor mr mrs ms miss md phd jr sr ii iii iv herr frau anonymous anonymized anonymised
    anon unknown none patient test name unnamed baby boy girl na nn
    """
)
"""What stands in name fields and is no name."""

PARTICLES = words(
    """
    van von der den de del della di da dos das du la le los al el bin ibn abu ben ter ten zu zum zur y e i o
    d l
    """
)
"""Parts of names that are removed only beside the rest of the name."""

SHORTEST_LONG_NAME = 6
"""Letters from which on one slip of the keyboard is forgiven; one less for a word with a capital."""

SHORTEST_ID = 4
"""Characters; a shorter identifier ("1") is no identifier."""

SIDES = frozenset("lr")
"""Left and right: no initials without a full stop, and none of an ordinary word."""

UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe"})


@dataclass(frozen=True)
class Identifiers:
    """The strings of the headers of one study and of its reports that could name somebody.

    Empty strings are fine; what is here is never written anywhere. `one | other` holds both.
    """

    names: tuple[str, ...] = ()
    """Patient, physicians, operators: DICOM PN ("Long^Mary^^Dr", "Yamada^Tarou=山田^太郎") or plain."""
    ids: tuple[str, ...] = ()
    """Patient ID, other patient IDs, accession number, study ID, UIDs."""
    dates: tuple[str, ...] = ()
    """Study, series, content dates: "20210131" or "2021-01-31"."""
    birth_dates: tuple[str, ...] = ()
    """As `dates`; of these the bare year goes as well."""
    institutions: tuple[str, ...] = ()
    """Institution, department, station, address."""

    def __or__(self, other: "Identifiers") -> "Identifiers":
        """Unite two studies' identifiers, each once."""
        return Identifiers.united([self, other])

    @classmethod
    def united(cls, several: Iterable["Identifiers"]) -> "Identifiers":
        """Everything that `several` hold, each once, in their order."""
        fields = zip(*(one._all() for one in several), strict=True)
        return cls(*(tuple(dict.fromkeys(chain.from_iterable(values))) for values in fields))

    def _all(self) -> tuple[tuple[str, ...], ...]:
        return self.names, self.ids, self.dates, self.birth_dates, self.institutions


NOBODY_NAMED = Identifiers()


@dataclass(frozen=True)
class Known:
    """`Identifiers`, prepared for the search; words folded."""

    names: frozenset[str]
    """Parts of names that nothing else in a report is called, and whole names written as one word."""
    ambiguous: frozenset[str]
    """Parts of names that are ordinary words, diseases or two letters."""
    couples: frozenset[tuple[str, str]]
    """Two of those that are one person's: family and given name, both ways."""
    places: frozenset[str]
    """Words of institutions that mean nothing else, and whole institutions written as one word."""
    beginnings: frozenset[str]
    """All beginnings of the words above, for those that a report writes apart."""
    long: tuple[str, ...]
    """Names in which one slip of the keyboard is forgiven."""
    initials: frozenset[str]
    particles: frozenset[str]
    ids: tuple[str, ...]
    """Letters and digits only, capitals, no leading zeros."""
    literals: tuple[str, ...]
    """Names in scripts without words, and names as a wrong encoding shows them; small letters."""
    days: tuple[str, ...]
    """The known dates in forms too short to be told from a fraction."""
    birth_years: tuple[str, ...]


@lru_cache(maxsize=64)
def prepare(identifiers: Identifiers) -> Known:
    """Spell out how the identifiers may be written."""
    parts = {part for name in identifiers.names for part in _parts(name)}
    whole = {written for name in identifiers.names for written in _wholes(name)}
    ambiguous = {part for part in parts if len(part) == 2 or part in familiar()}
    institutions = [_folded_words(place) for place in identifiers.institutions]
    places = {word for words in institutions for word in words if len(word) > 3 and word not in familiar()}
    places |= {"".join(words) for words in institutions if len(words) > 1}
    names = (parts - ambiguous) | {word for word in whole if len(word) > 3 and word not in familiar()}
    return Known(
        names=frozenset(names),
        ambiguous=frozenset(ambiguous),
        couples=frozenset(
            couple for name in identifiers.names for couple in permutations(set(_parts(name)), 2)
        ),
        places=frozenset(places - names),
        beginnings=frozenset(
            word[:end] for word in names | ambiguous | places for end in range(1, len(word))
        ),
        long=tuple(
            sorted(name for name in names | (ambiguous - ordinary()) if len(name) >= SHORTEST_LONG_NAME - 1)
        ),
        initials=frozenset(word[0] for name in identifiers.names for word in _folded_words(name)),
        particles=frozenset(_folded_words(" ".join(identifiers.names))) & PARTICLES,
        ids=tuple(sorted({spelt for number in identifiers.ids for spelt in _spellings(number)})),
        literals=tuple(sorted({literal for name in identifiers.names for literal in _literals(name)})),
        days=tuple(
            sorted({day for date in identifiers.dates + identifiers.birth_dates for day in _days(date)})
        ),
        birth_years=tuple(sorted({date[:4] for date in identifiers.birth_dates if date[:4].isdigit()})),
    )


def _folded_words(text: str) -> list[str]:
    return [word.folded for word in Page(text).words]


def _parts(name: str) -> Iterator[str]:
    """Every word of a name, with umlauts both ways: "Müller" gives muller and mueller."""
    spelt = (name, name.lower().translate(UMLAUTS), name.replace("ß", "s"))
    for word in {word for spelling in spelt for word in _folded_words(spelling)}:
        if len(word) > 1 and word not in NO_NAMES | PARTICLES:
            yield word
            if len(word) >= SHORTEST_LONG_NAME:
                yield re.sub("(?<=[aou])e", "", word)


def _wholes(name: str) -> Iterator[str]:
    """What a name makes as one word: "smithjones", "obrien", "marylong", "mlong"."""
    for group in name.split("="):
        components = [_folded_words(component) for component in re.split(r"[\^,]", group)]
        joined = ["".join(word for word in words if word not in NO_NAMES) for words in components]
        yield from (word for words, word in zip(components, joined, strict=True) if len(words) > 1)
        if len(joined) > 1 and joined[0] and joined[1]:
            family, given = joined[:2]
            yield from (family + given, given + family, given[0] + family, family + given[0])


def _literals(name: str) -> Iterator[str]:
    for part in re.split(r"[\s^=,;-]+", name):
        if len(part) > 1 and not part.isascii():
            for encoding in ("cp1252", "latin-1"):
                yield part.encode().decode(encoding, "replace").lower()
            if not part[0].isupper() and not part[0].islower():
                yield part


def _spellings(number: str) -> Iterator[str]:
    """An identifier as letters and digits, and its longest number by itself ("MRN-0012345": 12345)."""
    for candidate in (number, *re.findall(r"\d{5,}", number)):
        spelt = re.sub(r"[\W_]", "", candidate).upper().lstrip("0")
        if len(spelt) >= SHORTEST_ID and (any(map(str.isdigit, spelt)) or fold(spelt) not in ordinary()):
            yield spelt


def _days(date: str) -> Iterator[str]:
    digits = re.sub(r"\D", "", date)
    if len(digits) >= 8:
        month, day = digits[4:6], digits[6:8]
        yield from (f"{month}/{day}", f"{day}/{month}", f"{day}.{month}.", f"{month}-{day}", f"{day}-{month}")
