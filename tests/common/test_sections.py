import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.text.sections import (
    HEADERS,
    mark_change,
    merge_sections,
    parse_sections,
    section_named,
    speaks_of_change,
    split_sentences,
    training_text,
)

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


@given(
    st.lists(
        st.sampled_from(["FINDINGS:", "Impression:", "no", "clear.", "\n", "history:", "2.5 cm", "Befund:"])
    )
)
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


@pytest.mark.parametrize("filler", [" ", "\n", ".", "1. ", "findings ", "a. ", "clinical ", "exam\n"])
def test_a_hostile_report_takes_no_more_than_a_moment(filler: str) -> None:
    started = time.process_time()
    report = filler * (200_000 // len(filler))
    parse_sections(report)
    split_sentences(report)
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    ("report", "sections"),
    [
        ("Befund: Herz normal.\nBeurteilung: Kein Infiltrat.", ("findings", "impression")),
        (
            "Klinische Angaben: Husten.\nFragestellung: Infiltrat?\nTechnik: p.a.",
            ("indication", "technique"),
        ),
        (
            "INDICATION : toux.\nRÉSULTATS : normal.\nSYNTHÈSE : normal.",
            ("indication", "findings", "impression"),
        ),
        ("Résultat : normal.\nAu total : normal.", ("findings", "impression")),
        ("HALLAZGOS: Sin infiltrados. IMPRESIÓN DIAGNÓSTICA: Normal.", ("findings", "impression")),
        (
            "Motivo de consulta: tos.\nTecnica: PA.\nConclusiones: normal.",
            ("indication", "technique", "impression"),
        ),
        (
            "Quesito clinico: tosse.\nReperti: nulla.\nConclusioni: nulla.",
            ("indication", "findings", "impression"),
        ),
        ("Vraagstelling: hoest.\nVerslag: geen.\nConclusie: geen.", ("indication", "findings", "impression")),
        (
            "Dados clínicos: tosse.\nAchados: nada.\nImpressão: nada.",
            ("indication", "findings", "impression"),
        ),
        ("Voraufnahmen: keine.\nEmpfehlung: CT.", ("comparison", "recommendation")),
        ("EXAMINATION: CHEST (PA AND LAT)\n\nFINDINGS: Clear.", ("examination", "findings")),
        ("FINDINGS\nClear.\nIMPRESSION\nNormal.", ("findings", "impression")),
        ("Befund\r\nUnauffällig.\r\nBeurteilung\r\nUnauffällig.", ("findings", "impression")),
        ("findings\nare clear.", ("report",)),
        ("PRIOR EXAM: none.\nFINDINGS/IMPRESSION: clear.", ("comparison", "impression")),
    ],
)
def test_headers_of_seven_languages(report: str, sections: tuple[str, ...]) -> None:
    assert tuple(parse_sections(report)) == sections


@pytest.mark.parametrize(
    ("header", "section"),
    [
        ("Finding", "findings"),
        ("Impressions:", "impression"),
        ("Conclusión", "impression"),
        ("Nodule", None),
        ("", None),
    ],
)
def test_a_header_alone_names_its_section(header: str, section: str | None) -> None:
    assert section_named(header) == section


CHANGED = [
    "Cardiomegaly is unchanged.",
    "Interval increase of the left effusion.",
    "Compared with the prior study, the nodule has grown.",
    "New right basilar opacity.",
    "Effusion has\nresolved.",
    "Stable heart size.",
    "Again seen is a calcified granuloma.",
    "Unveränderte Herzgröße im Vergleich zur Voraufnahme.",
    "Der Erguss hat zugenommen.",
    "Cardiomégalie stable par rapport à l'examen antérieur.",
    "Apparition d'un épanchement.",
    "Sin cambios significativos respecto a estudio previo.",
    "Derrame que ha aumentado.",
    "Reperto invariato rispetto al precedente.",
    "Toegenomen pleuravocht in vergelijking met vorig onderzoek.",
    "Derrame estável em relação ao exame anterior.",
]
PLAIN = [
    "The heart is normal.",
    "The cardiac silhouette is enlarged.",
    "Degenerative changes of the spine.",
    "Calcified nodes from granulomatous disease.",
    "No prior studies are available for comparison.",
    "Follow up to ensure resolution.",
    "He is hemodynamically stable.",
    "She lives in New York.",
    "Herz normal groß.",
    "Keine Voraufnahmen vorhanden.",
    "Pas d'épanchement.",
    "No se dispone de estudios previos.",
    "Nessun versamento.",
    "Geen afwijkingen.",
    "Sem derrame pleural.",
]


@pytest.mark.parametrize("sentence", CHANGED)
def test_a_comparison_with_an_earlier_study_is_told(sentence: str) -> None:
    assert speaks_of_change(sentence)


@pytest.mark.parametrize("sentence", PLAIN)
def test_what_one_image_can_show_is_no_comparison(sentence: str) -> None:
    assert not speaks_of_change(sentence)


@given(st.lists(st.sampled_from(CHANGED + PLAIN)))
def test_each_sentence_is_marked_by_itself(sentences: list[str]) -> None:
    marked = mark_change("\n\n".join(sentences))
    assert [sentence for sentence, _ in marked] == [" ".join(sentence.split()) for sentence in sentences]
    assert [change for _, change in marked] == [sentence in CHANGED for sentence in sentences]


@pytest.mark.parametrize("filler", ["no prior ", "prior ", "if a ", "new ", "\n", "compared "])
def test_a_hostile_sentence_is_judged_in_a_moment(filler: str) -> None:
    started = time.process_time()
    speaks_of_change(filler * (200_000 // len(filler)))
    assert time.process_time() - started < 5
