"""Whether a word that is also somebody's name means the person here: "Long", "Rose", "Head", "Parkinson".

Only names of this study's own people are asked about, and of those only the ordinary words and the eponyms.
One is taken for the person unless a disease, a sign, an organ or an examination of that name is meant
("Long segment", "Head CT", "Parkinson disease", "circle of Willis"), and if

1. it is the name of a disease and no ordinary word, or
2. a title or a label comes before it ("Mr Long", "Patient: Long", "patient long was"), in any case, or
3. it begins with a capital inside a sentence of small letters ("seen by Long today"), or
4. it opens a sentence and what follows is said of people ("Long was seen", "Long, 45"), or
5. it stands beside another name of the study in the same case ("Rose Szabo", "LONG, JOHN", "young, rose").

What this risks: an ordinary word in small letters without title or neighbour ("long was seen today") stays,
and so does one that opens a sentence before an unusual verb, or stands alone among capitals ("PATIENT LONG
FELL"). What it costs: in the reports of a patient called Head, "the Head" and "Head is normal" lose the
word; in those of a patient called Parkinson, "history of Parkinson" does.
"""

import re

from client.ingest.deidentify.identifiers import SIDES, Known
from client.ingest.deidentify.lexicon import HEADS, THINGS, ordinary
from client.ingest.deidentify.page import Page, fold
from client.ingest.deidentify.titles import FIELDS, title_before
from client.ingest.deidentify.vocabulary import PLAIN, words

SAID_OF_PEOPLE = words(
    """
    was is has had presented presents came comes underwent reports reported complains complained denies
    denied returned returns states stated feels felt lives lived works worked takes took suffers suffered
    received describes described who aged says said told went fell wurde ist hat war klagt a est était
    souffre présente tiene presenta refiere es fue
    """
)
"""Words after a name at the beginning of a sentence."""

BEFORE_NAMESAKES = words("morbus non")
MORBUS = words(
    """
    addison alzheimer basedow bechterew crohn cushing dupuytren hodgkin meniere osler paget parkinson perthes
    scheuermann sudeck whipple wilson
    """
)
"""Diseases that German reports call "M. Crohn"; before others the letter is an initial."""
OF_NAMESAKES_BEFORE = words(
    """
    ampulla angle area bundle canal circle crypts disease duct enfermedad foramen fracture islets ligament
    loop maladie node pouch sign signe sindrome space sphincter syndrome tetralogy triangle vein
    """
)
"""Words that make a thing of the eponym after "of" or "de": "circle of Willis"."""
LINKS = words("of de d")

PATIENT = words("patient patientin patiente paciente pt")

GERMAN = words(
    """
    der die das und mit kein keine nicht ist im bei ohne eine ein hat von den dem des nach wird sind links
    rechts
    """
)
"""Words that a German report uses; there every noun has a capital, which then says nothing."""
GERMAN_SMALL = words(
    """
    klein gross lang kurz jung neu schwarz weiss weich hoch tief voll leicht stark fromm reich reif recht rot
    blind frei kalt klar schmal breit schwach schlecht ganz
    """
)
"""German words that take no capital, unless they are names."""


def meant_as_names(page: Page, known: Known, sure: set[int], doubtful: list[int]) -> set[int]:
    """Those of the `doubtful` words of the page that mean a person.

    Args:
        page: the text.
        known: the study's people.
        sure: indices of words that are names beyond doubt.
        doubtful: indices, in order, of words that are names of the study's people and ordinary words.
    """
    open_to_doubt = [index for index in doubtful if not _names_a_thing(page, index)]
    named = sure | {index for index in open_to_doubt if _stands_as_name(page, index, known)}
    candidates = set(open_to_doubt)
    named |= {index for index in open_to_doubt if _beside(page, index, candidates, known.couples)}
    for run in (open_to_doubt, open_to_doubt[::-1]):  # forward, then backward: "Young Rose Szabo"
        for index in run:
            if index not in named and (_beside(page, index, named) or _token_beside(page, index)):
                named.add(index)
    return named - sure


def _names_a_thing(page: Page, index: int) -> bool:
    """Tell whether a disease, an organ or an examination is meant: "Kerley B lines", "head injury"."""
    if title_before(page, index):
        return False
    things = HEADS | THINGS if page.words[index].folded in ordinary() else HEADS
    follows = FOLLOWING.match(page.text, page.words[index].end)
    if follows and any(fold(word) in things for word in follows.groups() if word):
        return True
    return _made_a_thing(page, index)


def _made_a_thing(page: Page, index: int) -> bool:
    """What stands before makes it a thing: "circle of Willis", "Morbus Crohn", "M. Crohn"."""
    before = index - 1
    while before >= 0 and page.words[before].folded in LINKS and page.gap(before, before + 1) in LINK_GAPS:
        before -= 1
    if before < 0 or len(page.gap(before, before + 1)) > 2:
        return False
    word = page.words[before].folded
    if before < index - 1:
        return word in OF_NAMESAKES_BEFORE
    return word in BEFORE_NAMESAKES or (word == "m" and page.words[index].folded in MORBUS)


LINK_GAPS = (" ", "'", "’", "\n")
FOLLOWING = re.compile(r"(?:['’]s)?(?:[ \t-]{1,3}|\n(?=[a-z]))(?:([A-Za-z]{1,2})[ \t\n-]{1,3})?([^\W\d_]+)")
"""The next word, and the one after a small one: "Baker's cyst", "Kerley B lines"."""


def _stands_as_name(page: Page, index: int, known: Known) -> bool:
    """Rules 1 to 4."""
    word = page.words[index]
    if title_before(page, index) or _labelled(page, index) or _after_initial(page, index, known):
        return True
    if _is_told_of_patient(page, index):
        return True
    if word.folded not in ordinary() and len(word.folded) > 2:
        return True
    if not page.is_capitalised(word):
        return False
    if page.is_shouted(word):
        return not page.shouts_around(word) and not page.opens_sentence(word)
    if word.folded not in GERMAN_SMALL and _reads_german(page, index):
        return False
    if page.opens_sentence(word):
        return _person_follows(page, index)
    following = page.words[index + 1] if index + 1 < len(page.words) else None
    return not (  # a heading in capitals: "No White Matter Lesions"
        following
        and page.is_capitalised(following)
        and following.folded in PLAIN
        and page.gap(index, index + 1).isspace()
    )


def _is_told_of_patient(page: Page, index: int) -> bool:
    """Tell "patient brown was seen" from "patient may have fallen"."""
    if index == 0 or page.words[index - 1].folded not in PATIENT or not page.gap(index - 1, index).isspace():
        return False
    return _person_follows(page, index)


def _after_initial(page: Page, index: int, known: Known) -> bool:
    """Tell whether an initial of the study's people stands before: "J. Long"."""
    if index == 0 or not re.fullmatch(r"\.[ \t]?", page.gap(index - 1, index)):
        return False
    initial = page.words[index - 1]
    if page.before(initial.start, 1).strip(" \t\r\n(.-") or not page.is_capitalised(initial):
        return False
    return page.is_capitalised(page.words[index]) and initial.folded in known.initials - SIDES


def _labelled(page: Page, index: int) -> bool:
    """Tell whether a label stands before, and no sentence in small letters follows."""
    start = page.words[index].start
    if not any(field.end() == start for field in _labels(page, index)):
        return False
    following = page.words[index + 1] if index + 1 < len(page.words) else None
    return not (following and page.gap(index, index + 1).isspace() and not page.is_capitalised(following))


def _labels(page: Page, index: int) -> list[re.Match[str]]:
    if not page.before(page.words[index].start, 3).rstrip(" \t").endswith(":"):
        return []
    starts = (word.start for word in page.words[max(0, index - 4) : index])
    return [field for start in starts if (field := FIELDS.match(page.text, start))]


def _person_follows(page: Page, index: int) -> bool:
    after = page.after(page.words[index].end, 24)
    if re.match(r",\s*\d|['’]s\b", after):
        return True
    following = page.words[index + 1 : index + 2]
    return bool(
        following and page.gap(index, index + 1).isspace() and page.written(following[0]) in SAID_OF_PEOPLE
    )


def _reads_german(page: Page, index: int) -> bool:
    near = page.words[max(0, index - 12) : index + 12]
    return sum(word.folded in GERMAN for word in near) >= 2


def _beside(
    page: Page, index: int, named: set[int], couples: frozenset[tuple[str, str]] | None = None
) -> bool:
    """Rule 5; an initial may stand between. With `couples`, the neighbour must be the same person's."""
    word = page.words[index].folded
    for step in (-1, 1, -2, 2):
        other = index + step
        if other in named and _alike(page, index, other) and _touch(page, index, other):
            return couples is None or (word, page.words[other].folded) in couples
    return False


def _alike(page: Page, index: int, other: int) -> bool:
    return page.is_capitalised(page.words[index]) == page.is_capitalised(page.words[other])


def _touch(page: Page, index: int, other: int) -> bool:
    first, last = sorted((index, other))
    gap = page.text[page.words[first].end : page.words[last].start]
    if not (TOUCHING.fullmatch(gap) if last - first == 1 else OVER_INITIAL.fullmatch(gap)):
        return False
    return "\n" not in gap or "," in gap or index < other or not _sentence_goes_on(page, index)


TOUCHING = re.compile(r"[ \t]*\r?\n[ \t]*|[ \t]+|[ \t]*[,^][ \t]*\r?\n?[ \t]*|-")
OVER_INITIAL = re.compile(r"(?:[ \t]+|,[ \t]*)[A-Z](?:\.[ \t]?|[ \t])")


def _sentence_goes_on(page: Page, index: int) -> bool:
    following = page.words[index + 1 : index + 2]
    return bool(following and page.gap(index, index + 1).isspace() and not page.is_capitalised(following[0]))


def _token_beside(page: Page, index: int) -> bool:
    word = page.words[index]
    return page.is_capitalised(word) and bool(
        re.search(r"\[NAME\](?:[ \t]+|[ \t]*[,^][ \t]*|-)$", page.before(word.start, 12))
        or re.match(r"(?:[ \t]+|[ \t]*[,^][ \t]*|-)\[NAME\]", page.after(word.end, 12))
    )
