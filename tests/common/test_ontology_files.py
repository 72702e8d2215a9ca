from pathlib import Path

import pytest
from tiny import SITES, tiny_spec

from common.data.corpus import reading_of
from common.errors import ConfigurationError, IntegrityError
from common.project import create_project, open_project
from common.store import Store
from common.text.entities import EntityReader
from common.text.ontology import Ontology
from common.text.ontology_files import read_ontology

OBO = """format-version: 1.2
ontology: tiny

[Term]
id: X:1
name: Eye
def: "The organ of sight." [book:1]

[Term]
id: X:2
name: Retina
def: "Its \\"film\\"." []
relationship: part_of X:1 ! Eye

[Term]
id: X:3
name: retinopathy
synonym: "Retinal Disease" EXACT []
synonym: "eye" RELATED []
relationship: located_in X:2 ! Retina

[Term]
id: X:4
name: diabetic retinopathy
is_a: X:3 ! retinopathy

[Term]
id: X:5
name: left eye
is_a: X:1

[Term]
id: X:6
name: gone
is_obsolete: true

[Typedef]
id: part_of
name: part of
"""

CSV = """name,kind,definition,synonyms,located_in
eye,anatomy,The organ of sight.,,
Retinopathy,finding,Disease of the retina.,retinal disease; retinosis,eye
"""


def write(folder: Path, name: str, content: str) -> Path:
    (folder / name).write_text(content)
    return folder / name


def test_obo_terms_become_entities_with_their_links(tmp_path: Path) -> None:
    ontology = read_ontology(write(tmp_path, "tiny.obo", OBO))
    assert {entity.name: entity.kind for entity in ontology.entities} == {
        "eye": "anatomy",
        "retina": "anatomy",
        "left eye": "anatomy",
        "retinopathy": "finding",
        "diabetic retinopathy": "finding",
    }
    assert ontology["retina"].definition == 'Its "film".'
    assert ontology["retinopathy"].synonyms == ("retinal disease",)
    assert ontology["retinopathy"].located_in == ("retina",)
    assert ontology.ancestors("diabetic retinopathy") == {"retinopathy"}


def test_a_table_becomes_entities_and_they_are_read_in_reports(tmp_path: Path) -> None:
    ontology = read_ontology(write(tmp_path, "tiny.csv", CSV))
    reader = EntityReader(ontology)
    mentions = {mention.entity: mention.polarity for mention in reader.read("No retinosis.")}
    assert mentions == {"retinopathy": "absent"}
    assert [sorted(near) for near in ontology.links()] == [[1], [0]]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", "name,kind\neye,anatomy\n", "column 'definition' is missing"),
        ("a.csv", "name,kind,definition,colour\n", "unknown column 'colour'"),
        ("a.csv", "name,kind,definition\neye,organ,Sees.\n", "'kind'"),
        ("a.csv", "name,kind,definition,parents\neye,anatomy,Sees.,face\n", "not an entity"),
        ("a.txt", "", "ends in .toml, .obo or .csv"),
    ],
)
def test_what_cannot_be_an_ontology_is_refused_in_one_line(
    tmp_path: Path, name: str, content: str, words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        read_ontology(write(tmp_path, name, content))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_ontology(tmp_path / "none.obo")


def test_a_project_carries_its_ontology_and_refuses_another(tmp_path: Path, bank: Store) -> None:
    spec = tiny_spec(data__ontology=str(write(tmp_path, "tiny.obo", OBO)), objectives__knowledge={})
    project = create_project(tmp_path / "project", spec, sites=[*SITES], bank=bank)
    assert isinstance(project.ontology, Ontology)
    assert "retinopathy" in project.tokenizer.pieces("retinopathy")
    reader = reading_of(spec, project.ontology).reader
    assert reader is not None
    assert reader.width == 5
    file = project.folder / "ontology.json"
    file.write_bytes(file.read_bytes().replace(b"sight", b"night"))
    with pytest.raises(IntegrityError, match=r"ontology.json differs"):
        _ = open_project(project.folder).ontology
