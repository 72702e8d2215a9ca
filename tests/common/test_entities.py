"""What reports state and deny: real turns of phrase, laws, and a reader that is quick on long texts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.text.entities import OBSERVED, SILENT, EntityReader, Mention, entity_reader, together
from common.text.ontology import load_ontology, parse_ontology

ONTOLOGY = load_ontology()
READER = entity_reader()
OBSERVABLE = [entity for entity in ONTOLOGY.entities if entity.kind in OBSERVED]


def polarity(sentence: str, entity: str) -> str | None:
    return next((mention.polarity for mention in READER.read(sentence) if mention.entity == entity), None)


@pytest.mark.parametrize(
    ("sentence", "entity", "expected"),
    [
        ("Small left pleural effusion.", "pleural effusion", "present"),
        ("No pleural effusion.", "pleural effusion", "absent"),
        ("There is no evidence of pneumothorax or pleural effusion.", "pneumothorax", "absent"),
        ("There is no evidence of pneumothorax or pleural effusion.", "pleural effusion", "absent"),
        ("Neither pneumothorax nor effusion.", "pleural effusion", "absent"),
        ("No pneumothorax, but a small effusion.", "pleural effusion", "present"),
        ("No pneumothorax, but a small effusion.", "pneumothorax", "absent"),
        ("Consolidation without effusion.", "consolidation", "present"),
        ("Consolidation without effusion.", "pleural effusion", "absent"),
        ("A small pneumothorax cannot be excluded.", "pneumothorax", "uncertain"),
        ("Possible right lower lobe pneumonia.", "pneumonia", "uncertain"),
        ("Effusions have resolved.", "pleural effusion", "absent"),
        ("Pneumothorax is not seen.", "pneumothorax", "absent"),
        ("No change in the large effusion.", "pleural effusion", "present"),
        ("The heart is markedly enlarged.", "cardiomegaly", "present"),
        ("The heart is not enlarged.", "cardiomegaly", "absent"),
        ("The cardiac silhouette is not enlarged.", "cardiomegaly", "absent"),
        ("Opacities in both lungs.", "opacity", "present"),
        ("Pericardial effusion.", "pleural effusion", None),
        ("Pericardial effusion.", "pericardial effusion", "present"),
        ("The lungs are clear.", "consolidation", None),
        ("NO PNEUMOTHORAX", "pneumothorax", "absent"),
        ("A right-sided pacemaker with its lead in the right ventricle.", "pacemaker", "present"),
    ],
)
def test_reads_what_radiologists_write(sentence: str, entity: str, expected: str | None) -> None:
    assert polarity(sentence, entity) == expected


@given(st.sampled_from(OBSERVABLE), st.data())
def test_every_term_is_found_stated_and_denied(entity: object, data: st.DataObject) -> None:
    assert hasattr(entity, "terms")
    term = data.draw(st.sampled_from(entity.terms))
    assert polarity(f"There is {term}.", entity.name) == "present"
    assert polarity(f"There is no evidence of {term}.", entity.name) == "absent"
    assert polarity(f"Possible {term}.", entity.name) == "uncertain"


@given(st.text(alphabet=st.sampled_from("no effusion,pneumothorax.but possible \n-'é1"), max_size=200))
def test_any_text_is_read_and_each_entity_named_once(text: str) -> None:
    names = [mention.entity for mention in READER.read(text)]
    assert len(names) == len(set(names))
    assert all(ONTOLOGY[name].kind in OBSERVED for name in names)


@given(st.lists(st.sampled_from([entity.name for entity in OBSERVABLE]), min_size=1, max_size=4))
def test_what_is_stated_includes_all_that_it_is_a_kind_of(names: list[str]) -> None:
    places = [entity.name for entity in ONTOLOGY.entities]
    stated = {places[place] for place in READER.stated(f"There is {'; there is '.join(names)}.")}
    for name in names:
        assert {name, *ONTOLOGY.ancestors(name)} <= stated
    assert not READER.stated(f"There is no {'; no '.join(names)}.")


def test_a_mention_in_doubt_counts_as_stated() -> None:
    assert READER.stated("Possible pneumonia.") == READER.stated("Pneumonia.") != frozenset()


def places(*names: str) -> frozenset[int]:
    at = {entity.name: place for place, entity in enumerate(ONTOLOGY.entities)}
    return frozenset(at[name] for name in names)


def test_a_sentence_puts_what_it_speaks_of_on_its_side() -> None:
    left = READER.statement("Pleural effusion on the left.")
    assert places("pleural effusion") <= left.left == left.stated
    assert not left.right
    assert left.mirrored == READER.statement("Pleural effusion on the right.")
    neither = READER.statement("Pleural effusion.")
    assert neither.left == neither.right == frozenset()
    both = READER.statement("Pleural effusions, right more than left.")
    assert both.left == both.right == both.stated
    assert READER.statement("No pleural effusion on the right.").right == places("pleural effusion")


def on_sides(sentence: str, *names: str) -> list[str]:
    """For each name "left", "right", "both" or "" as `sentence` puts it."""
    said = READER.statement(sentence)
    told = [tuple(at in side for side in (said.left, said.right)) for (at,) in map(places, names)]
    return [{(1, 0): "left", (0, 1): "right", (1, 1): "both", (0, 0): ""}[where] for where in told]


@pytest.mark.parametrize(
    ("sentence", "effusion", "heart"),
    [
        ("Left effusion, cardiomegaly.", "left", ""),
        ("Cardiomegaly, left pleural effusion.", "left", ""),
        ("Pleural effusion, left base, cardiomegaly.", "left", ""),
        ("On the right, a pleural effusion; cardiomegaly.", "right", ""),
        ("Bilateral effusions, cardiomegaly.", "both", ""),
        ("Pleural effusions at both lung bases, cardiomegaly.", "both", ""),
        ("Cardiomegaly, pleural effusion, right more than left.", "both", ""),
        ("Cardiomegaly and effusion on the left.", "left", "left"),
    ],
)
def test_a_side_is_that_of_the_words_between_two_commas(sentence: str, effusion: str, heart: str) -> None:
    assert on_sides(sentence, "pleural effusion", "cardiomegaly") == [effusion, heart]


@pytest.mark.parametrize(
    "sentence",
    [
        "Left effusion, right pneumothorax, cardiomegaly.",
        "Right pneumothorax, small effusion on the left.",
        "Left effusion and right pneumothorax.",
        "There is an effusion on the left and a pneumothorax on the right.",
    ],
)
def test_findings_of_one_sentence_keep_their_own_sides(sentence: str) -> None:
    assert on_sides(sentence, "pleural effusion", "pneumothorax") == ["left", "right"]


def test_what_explains_a_finding_is_on_its_side() -> None:
    said = "Opacification of the left base, consistent with consolidation, cardiomegaly."
    assert on_sides(said, "consolidation", "cardiomegaly") == ["left", ""]


def test_where_a_report_puts_a_finding_counts_and_not_where_it_denies_it() -> None:
    said = ("Pleural effusion on the left.", "No pleural effusion on the right.")
    for sentences in (said, said[::-1]):
        report = together(READER.statement(sentence) for sentence in sentences)
        assert report.denied == report.right == frozenset()
        assert report.left == report.stated == READER.stated(said[0])


def test_one_sure_sentence_ends_the_doubt_of_another() -> None:
    doubt, sure = (READER.statement(text) for text in ("Possible pneumonia.", "There is pneumonia."))
    assert doubt.doubted == doubt.stated == sure.stated
    assert together([doubt, sure]) == together([sure, doubt]) == sure
    assert together([]) == SILENT


def test_another_ontology_may_be_read() -> None:
    text = '[finding.zebra]\ndefinition = "A striped horse."\npatterns = ["striped horse"]\n'
    reader = EntityReader(parse_ontology(text, where="zoo.toml"))
    assert reader.read("No striped brown horse.") == (Mention("zebra", "absent"),)
    assert reader.normal is None
