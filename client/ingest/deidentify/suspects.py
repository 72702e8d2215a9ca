"""What may still identify somebody in a report that was scrubbed: a second look, made apart from the first.

It shares the lists of words with the first, and nothing of how it looks: where `scrub` reads words in their
places, this compares letters and digits with everything else taken out. It is generous: a suspect is for a
person to look at, or for the quality gate to count, and "Ho Chi Minh City" is rightly one.
"""

import re
from collections.abc import Iterator

from client.ingest.deidentify.dates import MONTHS, SHORT_MONTHS
from client.ingest.deidentify.identifiers import Identifiers
from client.ingest.deidentify.lexicon import EPONYMS, familiar
from client.ingest.deidentify.page import fold
from client.ingest.deidentify.spans import Span, merge
from client.ingest.deidentify.stretches import in_stretches
from client.ingest.deidentify.vocabulary import words
from common.text.placeholders import TOKEN, Kind

SHORTEST_NAME = 4
"""Letters; shorter names are looked for only with a capital."""
TWO_SLIPS_FROM = 8
"""Letters from which on two slips of the keyboard are forgiven."""

GIVEN_NAMES = words(
    """
    aaron abdul adam adrian agnes ahmed aisha alan albert alejandro alex alexander alfred ali alice alicia
    alison amanda amir amy ana anders andrea andreas andrew angela anita anja anna anne annette anthony
    antoine antonio arthur astrid barbara beatrice ben benjamin bernard bernd birgit bob brian brigitte bruno
    camille carl carla carlos carmen caroline catherine cecilia charles charlotte chris christine christoph
    claudia claudio craig cristina daniel daniela david deborah denise dennis derek diana diego dieter dirk
    dominique donald donna dorothy doris edith eduardo edward elena elias elisabeth elizabeth ella ellen
    emily emma enrique eric erika esther eugene eva evelyn fatima felix fernando florian francesca francisco
    francoise frank frederic friedrich gabriel gabriele gary gerald gerhard giovanni gisela giulia greg
    gregory guillermo gustav hannah hans harald harold heidi heike heinrich helen helena helga henri henry
    hugo ibrahim igor ingrid irene isabel isabelle jacob jacqueline jacques james jan jane janet javier jean
    jennifer jeremy jessica joan joanna joe joel johann johannes john jonas jonathan jorge jose josef joseph
    juan judith julia julie julien jurgen karen karin karl katherine kathleen katja keith kenneth kevin klaus
    kristin kurt larry laura lauren laurent leon leonard linda lisa lois louis louise lucas lucia luis lukas
    maja manfred manuel marcel marco margaret maria marie mario marion markus marta martha martin martina
    mary matthew matthias maurice max melanie michael michel michelle miguel mohamed mohammed monica monique
    muhammad nadia nancy natalie nathalie nicholas nicolas nicole nina olga oscar otto pablo pamela patricia
    paul paula pedro peter petra philip philippe pierre rachel rafael rainer ralf ralph raymond rebecca
    regina renate richard rita robert roberto roger roland ronald ruth sabine samantha samuel sandra sara
    sarah sebastian sergio sharon silvia simon sofia sonja sophie stefan stefanie stephan stephanie stephen
    steve steven susan susanne sylvia teresa theresa thierry thomas timothy tobias ulrich ursula uwe valerie
    vanessa veronica vincent virginia walter werner wilhelm william wolfgang yasmin yves
    """
)
"""Frequent given names that mean nothing else; folded."""

MONTH = "|".join(sorted(MONTHS | SHORT_MONTHS | words("février août décembre märz"), key=len, reverse=True))
NEAR_MONTH = re.compile(
    rf"(?i)\b(?:\d{{1,2}}(?:st|nd|rd|th|\.)?[ -]?)?(?:{MONTH})\b[ .,-]{{1,2}}"
    r"(?:\d{4}|\d{1,2}\b(?![.,]?\d|[ ]?[cm]m))"
)
DATE_LIKE = re.compile(
    r"(?<![\d.,])(?:\d{1,2}([/.-])\d{1,2}\1\d{2,4}|(?:19|20)\d\d([/.-])\d{1,2}\2\d{1,2})(?!\d|[.,]\d)"
)
DIGITS = re.compile(r"\d(?:[ ./()-]{0,2}\d){5,63}")
"""Six digits or more, whatever parts them."""
COUNTED = re.compile(
    r"\d{1,3}(?:[ ./-]+\d{1,3})*|(?:\d{1,4}(?:\.\d+)?[ ]{1,2})+\d{1,4}(?:\.\d+)?"
    r"|\d{1,4}(?:\.\d+)?[ ]?-[ ]?\d{4}(?:\.\d+)?"
)
"""Scores, columns of measurements, ranges."""
NET = re.compile(
    r"(?i)[^\s@]{0,64}@[^\s@]{0,64}|https?:|www\.|(?<![\w-])[\w-]{2,63}\.(?:com|org|net|edu|gov)\b"
)
CAPITAL = r"[^\W\d_a-zß-öø-ÿ]"
TITLED = re.compile(
    r"\b(?:Dr|Mr|Mrs|Ms|Miss|Prof|Professor|Herr|Frau|Mme|Madame|Monsieur|Señora?|Sra|Doctor|Docteur|Nurse)\b"
    rf"\.?[ \t]+(?P<name>{CAPITAL}[^\W\d_]+)"
)
PAIR = re.compile(
    rf"(?<=[^\s.:;!?•-][ \t])(?P<one>{CAPITAL}[^\W\d_A-Z]+)[ \t](?P<two>{CAPITAL}[^\W\d_A-Z]+)\b"
)
"""Two words with capitals inside a sentence."""
CAPITALISED = re.compile(rf"\b{CAPITAL}[^\W\d_]+")
INSIDE = re.compile(rf"(?<=[^\s.:;!?•-][ \t]){CAPITAL}[^\W\d_]+")
"""A word with a capital inside a sentence."""
LETTERS = re.compile(r"[^\W\d_]+")


def suspects(text: str, identifiers: Identifiers) -> list[Span]:
    """Spans of `text`, in order, that somebody should look at; tokens such as [NAME] are none.

    Time grows with the length of the text.

    Args:
        text: a report after `scrub`.
        identifiers: those with which it was scrubbed.
    """
    bare = TOKEN.sub(lambda match: "\0" * len(match[0]), text)
    return merge(in_stretches(bare, lambda piece: _on_piece(piece, identifiers)), bare)


def _on_piece(text: str, identifiers: Identifiers) -> Iterator[Span]:
    yield from _like_known_names(text, identifiers)
    yield from _like_known_ids(text, identifiers)
    yield from _like_names(text)
    for kind, pattern in ((Kind.DATE, NEAR_MONTH), (Kind.DATE, DATE_LIKE), (Kind.LINK, NET)):
        yield from (Span(match.start(), match.end(), kind) for match in pattern.finditer(text))
    for match in DIGITS.finditer(text):
        if not COUNTED.fullmatch(match[0]):
            yield Span(match.start(), match.end(), Kind.ID)


def _like_known_names(text: str, identifiers: Identifiers) -> Iterator[Span]:
    """Words within one or two slips of a name of the study, and names hidden in longer words."""
    names = {fold(part) for name in identifiers.names for part in LETTERS.findall(name)}
    common = {name for name in names if len(name) > 1 and (len(name) < SHORTEST_NAME or name in familiar())}
    for match in INSIDE.finditer(text) if common else ():
        if fold(match[0]) in common:
            yield Span(match.start(), match.end(), Kind.NAME)
    names = {name for name in names - common if len(name) >= SHORTEST_NAME}
    verdicts: dict[str, bool] = {}
    for match in LETTERS.finditer(text) if names else ():
        word = fold(match[0])
        if word not in verdicts:
            verdicts[word] = word not in familiar() and any(_resembles(word, name) for name in names)
        if verdicts[word]:
            yield Span(match.start(), match.end(), Kind.NAME)


def _resembles(word: str, name: str) -> bool:
    if name in word:
        return True
    slips = 2 if len(name) >= TWO_SLIPS_FROM else 1
    return abs(len(word) - len(name)) <= slips and edit_distance(word, name, most=slips) <= slips


def edit_distance(one: str, other: str, *, most: int) -> int:
    """Letters to put in, leave out or replace; `most` + 1 stands for anything above.

    Source: Wagner and Fischer 1974, doi:10.1145/321796.321811, the band around the diagonal only.
    """
    above = list(range(len(other) + 1))
    for row, letter in enumerate(one, start=1):
        here = [row] + [most + 1] * len(other)
        for column in range(max(1, row - most), min(len(other), row + most) + 1):
            replaced = above[column - 1] + (letter != other[column - 1])
            here[column] = min(replaced, above[column] + 1, here[column - 1] + 1)
        above = here
    return min(above[-1], most + 1)


def _like_known_ids(text: str, identifiers: Identifiers) -> Iterator[Span]:
    """The letters and digits of an identifier in a row, whatever stands between them."""
    numbers = {re.sub(r"[\W_]", "", number).lower() for number in identifiers.ids}
    numbers |= {re.sub(r"\D", "", date) for date in (*identifiers.dates, *identifiers.birth_dates)}
    if not numbers:
        return
    places = [place for place, letter in enumerate(text) if letter.isalnum()]
    squeezed = "".join(text[place].lower()[:1] for place in places)
    for number in sorted(number for number in numbers if len(number) >= 5 and re.search(r"\d", number)):
        at = squeezed.find(number)
        while at >= 0:
            yield Span(places[at], places[at + len(number) - 1] + 1, Kind.ID)
            at = squeezed.find(number, at + len(number))


def _like_names(text: str) -> Iterator[Span]:
    """Given names, words after titles, and two unknown words with capitals in a row."""
    for match in TITLED.finditer(text):
        yield Span(match.start("name"), match.end("name"), Kind.NAME)
    for match in CAPITALISED.finditer(text):
        if fold(match[0]) in GIVEN_NAMES and fold(match[0]) not in EPONYMS:
            yield Span(match.start(), match.end(), Kind.NAME)
    for match in PAIR.finditer(text):
        if not {fold(match["one"]), fold(match["two"])} & familiar():
            yield Span(match.start(), match.end(), Kind.NAME)
