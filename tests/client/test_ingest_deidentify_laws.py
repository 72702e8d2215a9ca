"""What holds for every report and every name, number and date."""

import re
import unicodedata
from collections.abc import Callable
from datetime import date

from hypothesis import given, settings
from hypothesis import strategies as st

from client.ingest.deidentify import Identifiers, scrub, suspects
from client.ingest.deidentify.lexicon import familiar
from client.ingest.deidentify.page import fold
from client.ingest.deidentify.titles import CUE_WORDS, FIELD_WORDS, TITLE_WORDS
from client.ingest.deidentify.vocabulary import PLAIN

SENTENCES = (
    "There is a {} consolidation in the right lower lobe.",
    "Patient {} was seen. No effusion, 12 mm nodule at L4/5.",
    "FINDINGS: clear lungs. IMPRESSION: discussed, {}.",
    "no change since the last study;\n{}\nheart size normal",
    "({}) T2 hyperintense lesion, 5/5 strength",
    "{}",
)
SYLLABLES = (
    "ba",
    "kow",
    "rin",
    "szu",
    "tev",
    "lő",
    "mür",
    "zań",
    "quo",
    "ñi",
    "dra",
    "fel",
    "ost",
    "vik",
    "yar",
    "ße",
)


def _is_rare(name: str) -> bool:
    """Neither an ordinary word nor one slip away from being one: those follow other rules."""
    folded = fold(name)
    slips = {folded[:at] + folded[at + 1 :] for at in range(len(folded))} | {folded}
    return not slips & familiar()


NAMES = st.lists(st.sampled_from(SYLLABLES), min_size=2, max_size=4).map(lambda parts: "".join(parts).title())
RARE = NAMES.filter(_is_rare)
FAMILY = RARE | st.tuples(RARE, st.sampled_from("-' "), RARE).map("".join)


def plain(name: str) -> str:
    return "".join(
        letter for letter in unicodedata.normalize("NFKD", name) if not unicodedata.combining(letter)
    )


VARIANTS = (
    lambda family, given: family,
    lambda family, given: family.upper(),
    lambda family, given: family.lower(),
    lambda family, given: f"{given} {family}",
    lambda family, given: f"{family}, {given}",
    lambda family, given: f"{family.upper()} {given}",
    lambda family, given: f"{given[0]}. {family}",
    lambda family, given: f"{family}, {given[0]}.",
    lambda family, given: f"{given}\n{family}",
    lambda family, given: plain(family),
    lambda family, given: unicodedata.normalize("NFD", f"{given} {family}"),
    lambda family, given: re.sub("[-' ]", "", family),
    lambda family, given: re.sub("[-' ]", " ", family),
    lambda family, given: re.sub("[-' ]", "’", family),
    lambda family, given: f"{family}s",
    lambda family, given: f"{family}'s",
    lambda family, given: f"{given[0].lower()}{plain(family).lower()}",
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(SENTENCES), FAMILY, RARE, st.sampled_from(VARIANTS))
def test_no_spelling_of_a_name_survives(
    sentence: str, family: str, given: str, variant: Callable[[str, str], str]
) -> None:
    report = sentence.format(variant(family, given))
    person = Identifiers(names=(f"{family}^{given}^^Dr^Jr",))
    left = fold(re.sub(r"\[NAME\]", "", scrub(report, person).text))
    for part in (*re.split("[-' ]", family), given):
        assert fold(part) not in left or fold(part) in fold(sentence)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(SENTENCES), RARE.filter(lambda name: len(fold(name)) >= 6 and "ß" not in name), st.data()
)
def test_one_slip_hides_no_long_name(sentence: str, family: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(family) - 2))
    slip = data.draw(
        st.sampled_from([
            family[:at] + family[at + 1 :],
            family[:at] + "x" + family[at:],
            family[:at] + "x" + family[at + 1 :],
            family[:at] + family[at + 1] + family[at] + family[at + 2 :],
        ])
    )  # fmt: skip
    report = sentence.format(slip)
    if fold(slip) not in familiar() and len(fold(slip)) >= 6:
        assert scrub(report, Identifiers(names=(f"{family}^Ev",))).text == sentence.format("[NAME]")


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(SENTENCES),
    st.from_regex(r"\A(?:[A-Z]{0,3}-?)[1-9][0-9]{4,8}\Z"),
    st.sampled_from(["{}", "MRN {}", "MRN: {}", "#{}", "mrn{}", "00{}", "ID {}", "({})"]),
    st.sampled_from(["", " ", "-", "."]),
    st.integers(2, 3),
)
def test_no_spelling_of_a_number_survives(
    sentence: str, number: str, label: str, separator: str, group: int
) -> None:
    head = re.sub(r"\d+$", "", number)
    digits = number[len(head) :]
    parted = separator.join(digits[at : at + group] for at in range(0, len(digits), group))
    report = sentence.format(label.format(head + parted))
    left = scrub(report, Identifiers(ids=(number,))).text
    assert digits not in re.sub(r"\D", "", left.replace("12 mm", "").replace("L4/5", "").replace("5/5", ""))


FORMATS = (
    *(
        "%Y-%m-%d",
        "%Y/%m/%d",
        "%d.%m.%Y",
        "%m/%d/%Y",
        "%d/%m/%y",
        "%d-%b-%Y",
        "%d %B %Y",
        "%B %d, %Y",
        "%b %d, '%y",
    ),
    *(
        "%Y%m%d",
        "%d%b%Y",
        "%A, %d %B %Y",
        "%d. %B %Y",
        "%d %b %y",
        "%Y-%m-%dT10:15:00",
        "%m-%d-%Y",
        "%Y.%m.%d",
    ),
    *("%B %dth, %Y", "%d of %B, %Y", "%d/\n%m/%Y", "%B\n%d, %Y", "%d.%m.%y"),
)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([sentence for sentence in SENTENCES if not re.search(r"\d", sentence)]),
    st.dates(date(1901, 1, 1), date(2049, 12, 31)),
    st.sampled_from(FORMATS),
)
def test_no_spelling_of_a_date_survives(sentence: str, day: date, written: str) -> None:
    result = scrub(sentence.format(day.strftime(written)), Identifiers())
    assert result.text == sentence.format("[DATE]")


PIECES = st.sampled_from("""
Long Rose Szabo szabo LONG, J. Dr. Mr signed_by Patient: and MD Head_CT of [NAME] [DATE] [ ] NAME 2020 3/14
12:30 at May 7 555-1234 A1B2C345 MRN 1.5_cm Hospital St. Mary's lives_in Springfield
rue x@y.de van_der Berg - 's . , |
""".replace("\n", " ").split(" ")).map(lambda piece: piece.replace("_", " ").replace("|", "\n"))  # fmt: skip
TANGLES = st.lists(st.tuples(PIECES, st.sampled_from([" ", " ", "", "\n"])), max_size=25).map(
    lambda parts: "".join(piece + gap for piece, gap in parts)
)
PEOPLE = Identifiers(
    names=("Long^Rose^J", "Szabo^Lena", "van der Berg^May", "Head^Mary"),
    ids=("A1B2C345",),
    birth_dates=("19700314",),
    institutions=("Springfield Hospital",),
)


@settings(max_examples=600, deadline=None)
@given(TANGLES)
def test_a_second_scrub_changes_nothing(report: str) -> None:
    once = scrub(report, PEOPLE)
    again = scrub(once.text, PEOPLE)
    assert again.text == once.text
    assert again.counts == {}


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200))
def test_any_text_can_be_scrubbed_and_scrubbed_again(report: str) -> None:
    once = scrub(report, PEOPLE).text
    assert scrub(once, PEOPLE).text == once
    assert all(0 <= span.start < span.end <= len(once) for span in suspects(once, PEOPLE))


SMALL_WORDS = sorted(PLAIN - TITLE_WORDS - CUE_WORDS - FIELD_WORDS)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(SMALL_WORDS), st.sampled_from([" ", ", ", ". ", "\n", "; ", "-"]))))
def test_text_without_capitals_digits_and_identifiers_comes_through_unchanged(
    parts: list[tuple[str, str]],
) -> None:
    report = "".join(word + gap for word, gap in parts)
    assert scrub(report, PEOPLE).text == report
    assert suspects(report, PEOPLE) == []
