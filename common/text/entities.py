"""What a report says of the ontology's findings and devices: present, absent or uncertain.

The longest term wins; a cue of negation or doubt reaches to the end of its clause, as in NegEx (Chapman et
al. 2001, doi:10.1006/jbin.2001.1029). A side is that of the words between two commas: in "left effusion,
cardiomegaly" the heart has none. Rules need no model and no private text, so every hospital reads alike.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple

from common.text.laterality import NOWHERE, Sides, placed, sides
from common.text.ontology import Kind, Ontology, load_ontology

Polarity = Literal["present", "absent", "uncertain"]
Words = tuple[str, ...]

OBSERVED: tuple[Kind, ...] = ("finding", "device")
"""Kinds of entities that a report states or denies."""

NORMAL = "normal study"
"""The entity of a report that finds nothing."""

MAX_GAP = 2
"""Words that may stand between two words of a term: "the heart is markedly enlarged"."""

REACH_BACK = 5
"""Words between a mention and a cue that follows it: "a small effusion on the left is not excluded"."""

NEGATIONS = (
    "no", "not", "without", "neither", "nor", "denies", "negative for", "free of", "clear of", "absence of",
    "resolution of", "rather than",
)  # fmt: skip
DOUBTS = (
    "possible", "possibly", "probable", "probably", "suspected", "suspicious for", "suspicion of", "likely",
    "may", "might", "could", "cannot exclude", "questionable", "query", "versus", "vs",
)  # fmt: skip
NEGATIONS_AFTER = (
    "not seen",
    "not identified",
    "not present",
    "ruled out",
    "excluded",
    "absent",
    "resolved",
    "none",
)
DOUBTS_AFTER = (
    "cannot be excluded", "not excluded", "cannot be ruled out", "not certain", "possible", "suspected",
    "unlikely",
)  # fmt: skip
NO_CUES = (
    "no change",
    "not changed",
    "no significant change",
    "no interval change",
    "no increase",
    "not only",
)
"""What reads like a negation and denies nothing."""

_CLAUSE_END = re.compile(r"[.;:!?]|\b(?:but|however|although|though|except|apart from)\b|\band (?=there\b)")
_AND = re.compile(r"(?<=\s)(?=and\s)")
_WORD = re.compile(r"[^\W_]+(?:[-'][^\W_]+)*")


@dataclass(frozen=True)
class Mention:
    """One entity that a sentence names."""

    entity: str
    polarity: Polarity


class Statement(NamedTuple):
    """What a text says, as places in the ontology."""

    stated: frozenset[int] = frozenset()
    """What is or may be there, and all that it is a kind of."""
    doubted: frozenset[int] = frozenset()
    """What of `stated` only may be there."""
    denied: frozenset[int] = frozenset()
    """What is not there."""
    left: frozenset[int] = frozenset()
    """What of `stated` and `denied` is said of the left."""
    right: frozenset[int] = frozenset()
    """The same of the right; what is said of both sides is in both."""

    @property
    def mirrored(self) -> "Statement":
        """The same of the mirrored image."""
        return self._replace(left=self.right, right=self.left)


SILENT = Statement()
"""Of a text that says nothing of any entity."""


def together(statements: Iterable[Statement]) -> Statement:
    """What several texts say as one: what one of them states is not denied, nor doubted if one is sure of it.

    Where it is there counts, not where else it is not: "effusion on the left, none on the right" is left.
    """
    parts = tuple(statements)
    stated = SILENT.stated.union(*(part.stated for part in parts))
    sure = SILENT.stated.union(*(part.stated - part.doubted for part in parts))
    counted = [part.stated | (part.denied - stated) for part in parts]
    return Statement(
        stated,
        doubted=stated - sure,
        denied=SILENT.denied.union(*(part.denied for part in parts)) - stated,
        left=SILENT.left.union(*(part.left & named for part, named in zip(parts, counted, strict=True))),
        right=SILENT.right.union(*(part.right & named for part, named in zip(parts, counted, strict=True))),
    )


class EntityReader:
    """Finds the findings and devices of one ontology in sentences."""

    def __init__(self, ontology: Ontology) -> None:
        place = {entity.name: at for at, entity in enumerate(ontology.entities)}
        self._place = place
        self.ontology = ontology
        self._closure = {
            name: frozenset(place[broader] for broader in (name, *ontology.ancestors(name))) for name in place
        }
        self.normal = place.get(NORMAL)
        """Place of `NORMAL`; None in an ontology without it."""
        self.width = len(place)
        self._by_first_word: dict[str, list[tuple[Words, str]]] = {}
        for entity in ontology.entities:
            if entity.kind in OBSERVED:
                for term in (*entity.terms, *entity.patterns):
                    words = tuple(_words(term))
                    self._by_first_word.setdefault(words[0], []).append((words, entity.name))

    def read(self, sentence: str) -> tuple[Mention, ...]:
        """Every entity that `sentence` names, once, in order: present if one mention is, else the first."""
        return tuple(Mention(entity, polarity) for entity, (polarity, _) in self._said(sentence).items())

    def _said(self, sentence: str) -> dict[str, tuple[Polarity, Sides]]:
        """Entity -> what the sentence says of it, and where."""
        found: dict[str, tuple[Polarity, Sides]] = {}
        for clause in _CLAUSE_END.split(sentence.casefold()):
            for entity, polarity, where in self._mentions(clause):
                known, places = found.get(entity, (polarity, NOWHERE))
                if polarity == known:
                    found[entity] = polarity, (places[0] or where[0], places[1] or where[1])
                elif polarity == "present":
                    found[entity] = polarity, where
        return found

    def _mentions(self, clause: str) -> Iterator[tuple[str, Polarity, Sides]]:
        """Every mention in a clause, in order, with the sides of the part that it stands in."""
        parts = [part for segment in clause.split(",") for part in self._apart(segment)]
        told = [_words(part) for part in parts]
        words = [word for part in told for word in part]
        part_of = [number for number, part in enumerate(told) for _ in part]
        spans = sorted(self._spans(words), key=lambda span: span[1])
        with_finding = {part_of[places[0]] for _, places in spans}
        where = placed(parts, named=[number in with_finding for number in range(len(parts))])
        for entity, places in spans:
            yield entity, _polarity(words, places), where[part_of[places[0]]]

    def _apart(self, segment: str) -> list[str]:
        """In two at an "and" between findings of their own sides: "left effusion and right nodule"."""
        pieces = _AND.split(segment)
        apart = all(any(sides(piece)) and any(self._spans(_words(piece))) for piece in pieces)
        return pieces if apart else [segment]

    def _spans(self, words: list[str]) -> Iterator[tuple[str, list[int]]]:
        """Each mention and where its words stand; a longer term takes its words first."""
        candidates = [
            (term, entity, start)
            for start, word in enumerate(words)
            for term, entity in self._by_first_word.get(word, ())
        ]
        taken: set[int] = set()
        for term, entity, start in sorted(candidates, key=lambda candidate: -len(candidate[0])):
            places = _places(words, term, start)
            if places and not taken.intersection(places):
                taken.update(places)
                yield entity, places

    def stated(self, sentence: str) -> frozenset[int]:
        """What `sentence` says is or may be there, and all that it is a kind of: places in the ontology."""
        return self.statement(sentence).stated

    def statement(self, sentence: str) -> Statement:
        """What `sentence` states, doubts and denies, and on which side each of it."""
        return together(self._alone(entity, *said) for entity, said in self._said(sentence).items())

    def _alone(self, entity: str, polarity: Polarity, where: Sides) -> Statement:
        """What one mention says by itself."""
        named = self._closure[entity] if polarity != "absent" else frozenset({self._place[entity]})
        left, right = (named if side else SILENT.left for side in where)
        match polarity:
            case "present":
                return Statement(stated=named, left=left, right=right)
            case "uncertain":
                return Statement(stated=named, doubted=named, left=left, right=right)
            case "absent":
                return Statement(denied=named, left=left, right=right)


@cache
def entity_reader(ontology: Ontology | None = None) -> EntityReader:
    """The reader of `ontology`, or of the one that comes with this program."""
    return EntityReader(ontology or load_ontology())


def _places(words: list[str], term: Words, start: int) -> list[int]:
    """Where the words of `term` stand, the first at `start`, few words between them; [] if they do not."""
    places = [start]
    for wanted in term[1:]:
        after = places[-1] + 1
        try:
            places.append(words.index(wanted, after, after + MAX_GAP + 1))
        except ValueError:
            return []
    return places


def _polarity(words: list[str], places: list[int]) -> Polarity:
    """What the cues around a mention make of it, of those before the nearest; its own words are none."""
    end = places[-1] + 1
    after = words[end : end + REACH_BACK + 3]
    if _last(after, _DOUBTS_AFTER) >= 0:
        return "uncertain"
    if _last(after, _NEGATIONS_AFTER) >= 0:
        return "absent"
    before = _without([word for at, word in enumerate(words[:end]) if at not in places], _NO_CUES)
    negated, doubted = _last(before, _NEGATIONS), _last(before, _DOUBTS)
    if negated < 0 and doubted < 0:
        return "present"
    return "absent" if negated > doubted else "uncertain"


def _last(words: list[str], cues: tuple[Words, ...]) -> int:
    """Where the last of `cues` begins in `words`; -1 if there is none."""
    return max(
        (at for cue in cues for at in range(len(words)) if tuple(words[at : at + len(cue)]) == cue),
        default=-1,
    )


def _without(words: list[str], phrases: tuple[Words, ...]) -> list[str]:
    kept = list(words)
    for phrase in phrases:
        while (at := _last(kept, (phrase,))) >= 0:
            del kept[at : at + len(phrase)]
    return kept


def _words(text: str) -> list[str]:
    return [_singular(word) for word in _WORD.findall(text.casefold())]


def _singular(word: str) -> str:
    """ "opacities" -> "opacity", "effusions" -> "effusion"; good enough where both sides go through it."""
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith("sses"):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and word[-2] not in "siu" else word


def _cues(phrases: tuple[str, ...]) -> tuple[Words, ...]:
    return tuple(tuple(_words(phrase)) for phrase in phrases)


_NEGATIONS, _DOUBTS, _NO_CUES = _cues(NEGATIONS), _cues(DOUBTS), _cues(NO_CUES)
_NEGATIONS_AFTER, _DOUBTS_AFTER = _cues(NEGATIONS_AFTER), _cues(DOUBTS_AFTER)
