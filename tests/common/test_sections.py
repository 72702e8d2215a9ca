import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.text.sections import HEADERS, merge_sections, parse_sections, split_sentences, training_text

words = st.text("abcdefgh .,\n", min_size=1).filter(lambda text: text.strip() != "")
named = st.dictionaries(st.sampled_from(sorted(HEADERS)), words, min_size=1)


@given(named, st.sampled_from([str.upper, str.lower, str.capitalize]))
def test_a_report_written_from_sections_is_read_back(sections: dict[str, str], case: object) -> None:
    report = "\n".join(f"{case(name)}: {text}" for name, text in sections.items())  # type: ignore[operator]
    assert parse_sections(report) == {name: text.strip() for name, text in sections.items()}


@given(st.text())
def test_no_word_is_lost_but_headers(report: str) -> None:
    kept = "".join(parse_sections(report).values())
    assert "".join(kept.split()) == "".join(report.split())


@given(st.lists(st.sampled_from(["FINDINGS:", "Impression:", "no", "clear.", "\n", "history:", "2.5 cm"])))
def test_words_keep_their_number_when_headers_go(parts: list[str]) -> None:
    report = " ".join(parts)
    kept = " ".join(parse_sections(report).values())
    for word in ("no", "clear.", "2.5", "cm"):
        assert kept.split().count(word) == report.split().count(word)


@pytest.mark.parametrize(
    ("report", "sections"),
    [
        ("Clear lungs.", {"report": "Clear lungs."}),
        ("  \n ", {}),
        ("FINDINGS: Clear. IMPRESSION: Normal.", {"findings": "Clear.", "impression": "Normal."}),
        ("Findings: Clear. Impression: Normal.", {"findings": "Clear.", "impression": "Normal."}),
        ("findings :\nClear.\nconclusion:\nNormal.", {"findings": "Clear.", "impression": "Normal."}),
        ("CLINICAL HISTORY: Cough.\r\nREASON FOR EXAM: Pain.", {"indication": "Cough.\nPain."}),
        ("FINDINGS AND IMPRESSION: Clear.", {"impression": "Clear."}),
        ("heart normal IMPRESSION: clear", {"preamble": "heart normal", "impression": "clear"}),
        ("There is no prior history: unknown.", {"report": "There is no prior history: unknown."}),
        ("IMPRESSION: One.\nIMPRESSION: Two.", {"impression": "One.\nTwo."}),
        ("IMPRESSION: Mass.\nRECOMMENDATION(S): CT.", {"impression": "Mass.", "recommendation": "CT."}),
        ("COMPARISON:\nFINDINGS: Clear.", {"findings": "Clear."}),
        ("Dr. Lee, ward 3\nFINDINGS: Clear.", {"preamble": "Dr. Lee, ward 3", "findings": "Clear."}),
    ],
)
def test_headers_as_radiologists_write_them(report: str, sections: dict[str, str]) -> None:
    assert parse_sections(report) == sections


def test_training_reads_findings_then_impression_then_a_report_without_headers() -> None:
    sections = {"technique": "t", "impression": "i", "report": "r", "findings": "f", "preamble": "p"}
    assert training_text(sections) == "f\ni\nr"
    assert training_text({"technique": "t", "indication": "h"}) == "t\nh"
    assert training_text({}) == ""


def test_merging_keeps_the_order_of_the_reports() -> None:
    merged = merge_sections([{"findings": "a", "impression": "b"}, {"findings": " ", "report": "d"}])
    assert merged == {"findings": "a", "impression": "b", "report": "d"}
    assert merge_sections([{"findings": "a"}, {"findings": "b"}]) == {"findings": "a\nb"}


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("A nodule of 2.5 cm. No effusion.", ["A nodule of 2.5 cm.", "No effusion."]),
        ("1. Nodule.\n2. No effusion\n3) Clear.", ["Nodule.", "No effusion", "Clear."]),
        ("1. Nodule. 2. Effusion.", ["Nodule.", "Effusion."]),
        ("- Nodule\n- Effusion", ["Nodule", "Effusion"]),
        ("Seen by Dr. Lee vs. prior, e.g. Fig. 3.", ["Seen by Dr. Lee vs. prior, e.g. Fig. 3."]),
        ("Effusion: no. Nodule: no.", ["Effusion: no.", "Nodule: no."]),
        ("It ends in segment 4. It is new.", ["It ends in segment 4.", "It is new."]),
        ("clear lungs\nwith normal heart", ["clear lungs with normal heart"]),
        ("No header\n\nlast line", ["No header", "last line"]),
        ("Really? Yes! (Normal.) Done.", ["Really?", "Yes!", "(Normal.)", "Done."]),
        ("", []),
        (" \n ", []),
    ],
)
def test_sentences_end_where_a_reader_ends_them(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


@given(st.text())
def test_splitting_loses_nothing_but_list_marks_and_blanks(text: str) -> None:
    kept = "".join("".join(split_sentences(text)).split())
    assert re.sub(r"[\d().*•-]", "", kept) == re.sub(r"[\d().*•-]", "", "".join(text.split()))


@given(st.lists(st.sampled_from(["Clear lungs", "No effusion", "A 2.5 cm nodule", "T2 bright"]), max_size=6))
def test_plain_sentences_come_back_one_by_one(sentences: list[str]) -> None:
    expected = [f"{sentence}." for sentence in sentences]
    assert split_sentences(" ".join(expected)) == expected


@pytest.mark.parametrize("filler", [" ", "\n", ".", "1. ", "findings ", "a. "])
def test_a_hostile_report_takes_no_more_than_a_moment(filler: str) -> None:
    started = time.process_time()
    report = filler * (200_000 // len(filler))
    parse_sections(report)
    split_sentences(report)
    assert time.process_time() - started < 5
