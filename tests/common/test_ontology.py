import re

import pytest

from common.errors import ConfigurationError
from common.text.ontology import Ontology, load_ontology, parse_ontology, sentences

ONTOLOGY = load_ontology()

LUNG = '[anatomy.lung]\ndefinition = "An organ."\n'


def test_knows_the_entities_of_a_radiology_department() -> None:
    assert 100 <= len(ONTOLOGY) <= 200
    for kind, name in [
        ("anatomy", "lumbar spine"),
        ("finding", "pneumothorax"),
        ("finding", "hydrocephalus"),
        ("finding", "ascites"),
        ("device", "endotracheal tube"),
        ("modality", "computed tomography"),
        ("view", "axial plane"),
    ]:
        assert ONTOLOGY[name].kind == kind


def test_every_definition_is_one_sentence() -> None:
    for entity in ONTOLOGY.entities:
        assert re.fullmatch(r"[A-Z][^.]*[^.\s]\.", entity.definition), entity.name


def test_findings_have_ancestors() -> None:
    assert ONTOLOGY.ancestors("viral pneumonia") == {"pneumonia", "inflammation"}
    assert ONTOLOGY.ancestors("lung") == frozenset()


def test_an_unknown_name_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        ONTOLOGY["unicorn"]


def test_sentences_name_every_term_and_deny_every_finding() -> None:
    told = list(sentences())
    text = "\n".join(told).casefold()
    for entity in ONTOLOGY.entities:
        assert entity.definition in "\n".join(told)
        assert all(term in text for term in entity.terms)
        if entity.kind == "finding":
            assert f"There is no evidence of {entity.name}." in told
            assert f"There is {entity.name}." in told


def test_sentences_are_always_the_same_and_never_repeat() -> None:
    told = list(sentences())
    assert told == list(Ontology.model_validate(ONTOLOGY.model_dump()).sentences())
    assert len(told) == len(set(told))
    assert all(sentence.endswith(".") and "{" not in sentence for sentence in told)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (LUNG + 'parents = ["organ"]', "'lung' refers to 'organ', which is not an entity"),
        (LUNG + 'parents = ["lung"]', "in a circle: lung -> lung"),
        (
            LUNG + 'located_in = ["lobe"]\n[anatomy.lobe]\ndefinition = "Part."\nlocated_in = ["lung"]',
            "in a circle",
        ),
        (
            LUNG + 'synonyms = ["lobe"]\n[anatomy.lobe]\ndefinition = "Part."',
            "'lobe' names both 'lung' and 'lobe'",
        ),
        (LUNG + '[finding.mass]\ndefinition = "A."\nlocated_in = ["mass"]', "'mass', which is not anatomy"),
        (LUNG.replace("lung", "Lung"), "'Lung' of 'Lung' is not lower case"),
        (LUNG + 'colour = "pink"', "anatomy 'lung', key 'colour': extra inputs"),
        (LUNG + 'synonyms = [""]', "anatomy 'lung', key 'synonyms.0': string should have at least 1"),
        ("[anatomy.lung]", "anatomy 'lung', key 'definition': field required"),
        (LUNG.replace("anatomy", "organ"), "organ 'lung', key 'kind'"),
        ("[anatomy]\nlung = 3", "every entity is a table"),
        ("anatomy = 3", "every entity is a table"),
        ("[anatomy", "is not valid TOML"),
    ],
)
def test_refuses_a_file_in_one_line(text: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        parse_ontology(text, where="own.toml")
    assert str(refusal.value).startswith("own.toml")
    assert complaint in str(refusal.value)
    assert "correct" in str(refusal.value)
    assert "\n" not in str(refusal.value)
