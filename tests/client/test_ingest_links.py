"""Several identifiers of one person are one patient, from pairing to the pseudonym, or nothing is written."""

from pathlib import Path

import pytest
from ingest_samples import write_dicom, write_reports
from saying import Say

from client.ingest.links import read_links
from client.ingest.pseudonyms import open_pseudonyms
from common.errors import ConfigurationError, FederationError
from common.store import Store

IMAGES = {"A1": "MRN1", "A2": "MRN2", "A3": "MRN3", "A4": "OLD-4"}
"""Accession number -> identifier in the image's header."""


def archive(folder: Path) -> Path:
    for number, (accession, patient) in enumerate(IMAGES.items()):
        write_dicom(
            folder / f"{accession}.dcm",
            instance=f"1.2.{number}",
            AccessionNumber=accession,
            PatientID=patient,
            StudyInstanceUID=f"1.3.{number}",
            StudyDate=f"2020010{number + 1}",
            IssuerOfPatientID="north" if number else "",
        )
    rows = [
        {"accession_number": "A1", "patient_id": "MRN1", "report": "Lungs are clear. Seen as OLD-4."},
        {"accession_number": "A2", "patient_id": "MRN1", "report": "Heart is large."},
    ]
    write_reports(folder.parent / "reports.csv", rows)
    return folder


def ingest(say: Say, folder: Path, *more: object) -> tuple[int, str]:
    arguments = [
        "--dicom",
        folder / "dicom",
        "--reports",
        folder / "reports.csv",
        "--store",
        folder / "store",
    ]
    arguments += ["--name", "x", "--burned-in", "keep", "--home", folder / "home", "--workers", "1"]
    return say("fedvlp-site", "ingest", *arguments, *more)


def links(path: Path, *rows: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.write_text("\n".join(["patient_id,person", *rows]) + "\n")
    path.chmod(0o600)
    return path


def test_linked_identifiers_are_one_patient_in_everything(say: Say, tmp_path: Path) -> None:
    archive(tmp_path / "dicom")
    code, said = ingest(say, tmp_path)
    assert code == 0, said
    apart = Store(tmp_path / "store")
    assert len({*apart.column("patient")}) == 4
    assert "1 report row refused (other_patient" in said  # of A2, whose image says MRN2

    links(tmp_path / "home" / "patient-links.csv", "MRN2,MRN1", "OLD-4,MRN1")
    code, said = ingest(say, tmp_path)
    assert code == 0, said
    store = Store(tmp_path / "store")
    pseudonyms = open_pseudonyms(tmp_path / "home", create=False)
    person = pseudonyms.patient("MRN1", "")
    assert sorted(store.column("patient")) == sorted(
        [person, person, person, pseudonyms.patient("MRN3", "north")]
    )
    assert (
        len(
            {
                split
                for split, who in zip(store.column("split"), store.column("patient"), strict=True)
                if who == person
            }
        )
        == 1
    )
    told = [section["report"] for section in store.sections() if section]
    assert sorted(told) == ["Heart is large.", "Lungs are clear. Seen as [ID]."]
    days = [
        day for day, who in zip(store.column("days"), store.column("patient"), strict=True) if who == person
    ]
    assert sorted(days) == [0, 1, 3]


def test_a_table_that_is_given_counts_before_the_one_at_home(say: Say, tmp_path: Path) -> None:
    archive(tmp_path / "dicom")
    links(tmp_path / "home" / "patient-links.csv", "MRN2,MRN1")
    given = links(tmp_path / "given.csv", "MRN3,OLD-4")
    code, said = ingest(say, tmp_path, "--patient-links", given)
    assert code == 0, said
    assert len({*Store(tmp_path / "store").column("patient")}) == 3


def test_a_table_at_home_that_others_may_read_is_refused(say: Say, tmp_path: Path) -> None:
    links(tmp_path / "home" / "patient-links.csv", "MRN2,MRN1").chmod(0o640)
    code, said = ingest(say, archive(tmp_path / "dicom").parent)
    assert (code, said.count("\n"), "patient-links.csv can be read by others; run `chmod 600`" in said) == (
        2,
        1,
        True,
    )
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["MRN2,MRN1", "MRN2,MRN3"], "line 3: an identifier is linked to two persons"),
        (["MRN2,MRN1", "MRN1,MRN3"], "line 3: an identifier is linked to two persons"),
        (["MRN2,"], "line 2: needs a patient_id and a person"),
        ([",MRN1"], "line 2: needs a patient_id and a person"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused_in_one_line(
    say: Say, tmp_path: Path, rows: list[str], words: str
) -> None:
    archive(tmp_path / "dicom")
    links(tmp_path / "home" / "patient-links.csv", *rows)
    code, said = ingest(say, tmp_path)
    assert code == 3
    assert words in said
    assert len(said.strip().splitlines()) == 1
    assert "MRN" not in said
    assert not (tmp_path / "store").exists()


def test_an_identifier_of_two_issuers_cannot_be_linked(say: Say, tmp_path: Path) -> None:
    archive(tmp_path / "dicom")
    write_dicom(tmp_path / "dicom" / "other.dcm", instance="1.9", PatientID="MRN2", IssuerOfPatientID="south")
    links(tmp_path / "home" / "patient-links.csv", "MRN2,MRN1")
    code, said = ingest(say, tmp_path)
    assert code == 3
    assert "1 identifiers in the table of linked patients were given out by several" in said
    with pytest.raises(FederationError):
        Store(tmp_path / "store")


def test_a_table_must_exist_and_have_its_columns(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        read_links(tmp_path / "absent.csv")
    (tmp_path / "other.csv").write_text("patient_id,same\nMRN2,MRN1\n")
    with pytest.raises(ConfigurationError, match="person"):
        read_links(tmp_path / "other.csv")


def test_the_same_link_twice_is_no_contradiction(tmp_path: Path) -> None:
    found = read_links(links(tmp_path / "links.csv", "MRN2,MRN1", "MRN2,MRN1", "MRN1,MRN1"))
    assert {found.person((one, "north")) for one in ("MRN1", "MRN2")} == {("MRN1", "")}
    assert found.person(("MRN3", "north")) == ("MRN3", "north")
