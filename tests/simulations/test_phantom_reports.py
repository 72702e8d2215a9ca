"""Phantom reports: they say what the truth says, in the words of their house."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.text.entities import entity_reader, together
from common.text.ontology import load_ontology
from common.text.sections import parse_sections, split_sentences, training_text
from simulations.phantom.caseload import Study, bank_caseload, caseload
from simulations.phantom.findings import NAMES, Finding, draw_finding
from simulations.phantom.folders import report
from simulations.phantom.hospital import hospitals_of
from simulations.phantom.phrases import ABSENT, ABSENT_PAIRS, DISTRACTORS, NORMAL, PRESENT, SHORT
from simulations.phantom.wording import STYLES, Case, house_style, write_report

HOSPITALS = hospitals_of(hospitals=6, studies=60, seed=0)
STUDIES: list[Study] = [study for hospital in HOSPITALS for study in caseload(hospital, seed=0)]

NEGATION = re.compile(
    r"\b(no|not|neither|absent)\b|within normal|normal in|sharp|clear\b|below 0\.5", re.IGNORECASE
)
NAMING = {
    "cardiomegaly": r"heart.*(enlarged|increased)|enlarged cardiac|cardiac silhouette is \w+ enlarged"
    r"|cardiomegaly|cardiothoracic ratio (above|of 0\.[5-9])|transverse diameter|cardiac enlargement|\bctr\b",
    "effusion": r"effusion|pleural fluid|fluid in the|costophrenic|cp angle",
    "pneumothorax": r"pneumothorax|ptx",
    "consolidation": r"consolidation|(?<!round )opacity|opacification of the \w+ \w+ (zone|lobe)"
    r"|infiltrate|airspace|pneumonia",
    "nodule": r"nodul|coin lesion|mass",
    "device": r"pacemaker|pacing|venous|central line|\bport\b|tube|cvc|\bett\b|intubated",
}
"""Finding -> what must be read where it is there, and must not be read unless negated where it is not."""


def read(study_report: str) -> set[str]:
    """The findings that a reader who looks for words and negations takes from a report."""
    return {
        name
        for name, words in NAMING.items()
        for sentence in re.split(r"[;\n]|\.(?!\d)", re.sub(r"(?m)^\d+\.", "", study_report))
        if re.search(words, sentence, re.IGNORECASE) and not NEGATION.search(_without_idle_words(sentence))
    }


def _without_idle_words(sentence: str) -> str:
    return re.sub(r"absent lung markings|not certain on this view", "", sentence, flags=re.IGNORECASE)


def test_a_report_names_exactly_the_findings_of_the_truth() -> None:
    for study in STUDIES:
        text = _without_context(report(study))
        assert read(text) == set(study.findings), text


def test_a_report_never_denies_what_is_there_nor_calls_it_normal() -> None:
    for study in STUDIES:
        text = report(study).lower()
        denials = [phrase for name in study.findings for phrase in ABSENT[name]]
        denials += [phrase for pair, phrase in ABSENT_PAIRS if not study.findings.keys().isdisjoint(pair)]
        denials += NORMAL if study.findings else ()
        assert not [denial for denial in denials if denial in text], text


def _without_context(text: str) -> str:
    return re.sub(r"(?m)^(HISTORY|TECHNIQUE|COMPARISON|Indication): .*$", "", text)


@pytest.mark.parametrize("name", ["pneumothorax", "consolidation", "nodule"])
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), side=st.sampled_from(["left", "right"]), style=st.sampled_from(STYLES))
def test_a_lone_finding_is_named_with_its_side_and_never_the_other(
    name: str, seed: int, side: str, style: str
) -> None:
    chance = np.random.default_rng(seed)
    finding = Finding(**(vars(draw_finding(name, chance)) | {"side": side}))
    text = write(finding, seed, style).lower()
    other = {"left": "right", "right": "left"}[side]
    assert side in text or "solitary" in text
    assert other not in text
    if finding.zone:
        others = {"upper", "mid", "lower"} - {finding.zone}
        said = set(re.findall(r"(upper|mid|middle|lower) (?:zone|lobe)", text))
        assert said.isdisjoint(others), text


def write(finding: Finding, seed: int, style: str) -> str:
    chance = np.random.default_rng(seed)
    case = Case({finding.name: finding}, "F", 60, "PA", 0.44, is_follow_up=False)
    return write_report(case, house_style(style, chance), chance)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), style=st.sampled_from(STYLES))
def test_a_ratio_in_the_text_is_the_ratio_of_the_drawn_heart(seed: int, style: str) -> None:
    chance = np.random.default_rng(seed)
    case = Case({"cardiomegaly": Finding("cardiomegaly", 0.5)}, "M", 60, "AP", 0.635, is_follow_up=True)
    said = re.findall(r"0\.\d\d", write_report(case, house_style(style, chance), chance))
    assert set(said) <= {"0.64", "0.63"}


def test_every_phrase_of_a_finding_names_it_and_every_absence_negates_it() -> None:
    slots = {"side": "left", "zone": "upper", "place": "left upper zone", "size": "small"}
    slots |= {"mm": "20", "a_mm": "a 20", "ratio": "0.61"}
    for table in (PRESENT, SHORT):
        for kind, phrases in table.items():
            name = kind.split(",")[0]
            name = name if name in NAMES else "device"
            for phrase in phrases:
                assert name in read(phrase.format(**slots)) or kind == "effusion", phrase
    for phrases in ABSENT.values():
        for phrase in phrases:
            assert read(phrase) == set(), phrase
    for phrase in (*NORMAL, *DISTRACTORS, *(text for _, text in ABSENT_PAIRS)):
        assert read(phrase) == set(), phrase


def test_most_reports_of_a_hospital_differ() -> None:
    for hospital in HOSPITALS:
        texts = [report(study) for study in STUDIES if study.folder == hospital.name]
        assert len(set(texts)) > 0.85 * len(texts), hospital.name


def test_six_hospitals_lay_their_reports_out_in_six_ways() -> None:
    first = {hospital.style.style for hospital in HOSPITALS}
    assert first == set(STYLES)


def test_normal_studies_are_called_normal_or_deny_findings() -> None:
    for study in STUDIES:
        if not study.findings:
            assert read(_without_context(report(study))) == set()


def test_the_bank_has_the_wordings_of_all_hospitals_and_balanced_findings() -> None:
    bank = bank_caseload(HOSPITALS, 240, seed=0)
    assert {study.hospital.style.style for study in bank} == set(STYLES)
    for name in NAMES:
        share = np.mean([name in study.findings for study in bank])
        assert 0.17 < share < 0.33, (name, share)


def test_the_age_in_the_text_is_the_age_in_the_header() -> None:
    for study in STUDIES:
        said = re.findall(r"(\d+)-year-old|OF (\d+) YEARS", report(study), re.IGNORECASE)
        assert {int(a or b) for a, b in said} <= {study.age}


ENTITIES = {
    "cardiomegaly": {"cardiomegaly"},
    "effusion": {"pleural effusion"},
    "pneumothorax": {"pneumothorax"},
    "consolidation": {"opacity", "pneumonia"},
    "nodule": {"pulmonary nodule"},
    "device": {"support device"},
}


def test_the_entity_reader_finds_in_reports_what_the_truth_says() -> None:
    names = [entity.name for entity in load_ontology().entities]
    wrong = dict.fromkeys(ENTITIES, 0)
    for study in STUDIES:
        sentences = split_sentences(training_text(parse_sections(report(study))))
        stated = {names[place] for sentence in sentences for place in entity_reader().stated(sentence)}
        for name, words in ENTITIES.items():
            wrong[name] += bool(words & stated) != (name in study.findings)
    # "Opacification of the base in keeping with an effusion" is an opacity, too.
    allowed = {name: 0.06 if name == "consolidation" else 0.01 for name in ENTITIES}
    assert all(wrong[name] <= allowed[name] * len(STUDIES) for name in ENTITIES), wrong


def test_the_entity_reader_puts_findings_on_the_side_that_the_truth_says() -> None:
    at = {entity.name: place for place, entity in enumerate(load_ontology().entities)}
    entity = {name: at[word] for name in NAMES if name != "consolidation" for word in ENTITIES[name]}
    told = {"left": (True, False), "right": (False, True), "bilateral": (True, True), "": (False, False)}
    asked, wrong = 0, []
    for study in STUDIES:
        sentences = split_sentences(training_text(parse_sections(report(study))))
        said = together(entity_reader().statement(sentence) for sentence in sentences)
        for name, finding in study.findings.items():
            if name in entity and entity[name] in said.stated:
                where = tuple(entity[name] in side for side in (said.left, said.right))
                asked += 1
                wrong += [(name, finding.side, report(study))] if where != told[finding.side] else []
    assert asked > 100
    assert len(wrong) <= 0.02 * asked, wrong[:3]
