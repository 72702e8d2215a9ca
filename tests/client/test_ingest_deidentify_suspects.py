"""The second look at what a scrub left."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.ingest.deidentify import Identifiers, Kind, scrub, suspects
from client.ingest.deidentify.suspects import edit_distance

SOMEBODY = Identifiers(names=("Quintanilla^Farid", "Rose^Zoe"), ids=("8478921",), dates=("20210203",))


@pytest.mark.parametrize(
    ("report", "suspect", "kind"),
    [
        ("seen by quintanila today", "quintanila", Kind.NAME),
        ("seen by quimtanila today", "quimtanila", Kind.NAME),
        ("xquintanillax", "xquintanillax", Kind.NAME),
        ("for Zoe and for Rose", "Zoe", Kind.NAME),
        ("number 8-4.7 8/9:2 1 was given", "8-4.7 8/9:2 1", Kind.ID),
        ("taken 2 0 2 1 - 02 - 03", "2 0 2 1 - 02 - 03", Kind.ID),
        ("number 12345-67 of", "12345-67", Kind.ID),
        ("call 555-249-9636 then", "555-249-9636", Kind.ID),
        ("on 3/4/99 the", "3/4/99", Kind.DATE),
        ("since 5 March 2020", "5 March 2020", Kind.DATE),
        ("the patient, Susanne, was", "Susanne", Kind.NAME),
        ("as told to Nurse Okonjo there", "Okonjo", Kind.NAME),
        ("taken to Snohomish Quarters by car", "Snohomish Quarters", Kind.NAME),
        ("write to a@b", "a@b", Kind.LINK),
    ],
)
def test_what_could_name_somebody_is_a_suspect(report: str, suspect: str, kind: Kind) -> None:
    found = {(report[span.start : span.end], span.kind) for span in suspects(report, SOMEBODY)}
    assert (suspect, kind) in found


@pytest.mark.parametrize(
    "report",
    [
        "[NAME] was seen by Dr. [NAME] on [DATE]; call [PHONE].",
        "T2 hyperintense, 12 mm, L4/5 and C5-C6, 1.5 x 2.3 cm, 5/5 strength, 10 20 30, 1000-1500 HU, 12.420",
        "Hodgkin lymphoma. Crohn disease. Heart size normal. No Acute Cardiopulmonary Abnormality.",
        "Clear at the cavoatrial junction. 2. No decubitus. 1. Since 2014.",
    ],
)
def test_medicine_and_tokens_are_no_suspects(report: str) -> None:
    assert suspects(report, SOMEBODY) == []


def test_suspects_come_in_order_and_do_not_overlap() -> None:
    spans = suspects("Susanne 8478921, Farid Quintanilla, 3/4/1999, a@b.example", SOMEBODY)
    assert [span.kind for span in spans] == [Kind.NAME, Kind.ID, Kind.NAME, Kind.DATE, Kind.LINK]
    assert all(first.end <= second.start for first, second in pairwise(spans))


def test_a_scrub_leaves_no_suspect_of_what_it_knows() -> None:
    report = "Farid Quintanilla (8478921), seen 3 Feb 2021 by Dr. Zoe Rose; QUINTANILLA, F., mrn 84-78-921."
    assert suspects(report, SOMEBODY)
    assert suspects(scrub(report, SOMEBODY).text, SOMEBODY) == []


words = st.text("abc", max_size=7)


def whole_distance(one: str, other: str) -> int:
    """The textbook recursion, row by row and without a band."""
    row = list(range(len(other) + 1))
    for place, letter in enumerate(one, start=1):
        previous, row = row, [place]
        for column, wanted in enumerate(other, start=1):
            row.append(min(previous[column] + 1, row[-1] + 1, previous[column - 1] + (letter != wanted)))
    return row[-1]


@given(words, words, st.integers(1, 3))
def test_the_banded_distance_is_the_whole_one_up_to_its_bound(one: str, other: str, most: int) -> None:
    if abs(len(one) - len(other)) <= most:
        assert edit_distance(one, other, most=most) == min(whole_distance(one, other), most + 1)
