"""Whose image a file is where it does not say so, and what day and study a row of the store is of."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ingest_samples import ramp, write_dicom, write_reports
from PIL import Image
from shelved import pair

from client.cli import main
from client.ingest.account import Account
from client.ingest.build import Target, ingest
from client.ingest.identity import Identity, Nameless, identified, read_image_table
from client.ingest.images import Header
from client.ingest.placement import place
from client.ingest.pseudonyms import Pseudonyms, open_pseudonyms
from client.ingest.rejected import Reason, Refusal
from client.ingest.reports import Report
from client.ingest.reports.report import Entry
from client.ingest.survey import Source, survey
from common.imaging.preparation import Preparation
from common.store import Store

SECRET = Pseudonyms(b"s" * 32)
PICTURE = Header("IM1.png", "", "", "", "", "", "")
"""What a PNG says of itself."""
SCAN = Header("1.2.3", "1.2", "A1", "", "", "CT", "")
"""What a DICOM file says whose patient was taken out."""


def one(header: Header, identity: Identity, file: str = "IM1.png") -> Header | Reason:
    (found,) = identified([header], identity, files=[file])
    return found


def test_by_itself_a_picture_is_nobody_s() -> None:
    assert one(PICTURE, Identity()) == one(SCAN, Identity()) == Reason.NO_PATIENT
    assert one(PICTURE, Identity(nameless=Nameless.STUDY)) == Reason.NO_PATIENT


def test_folders_say_patient_and_study() -> None:
    identity = Identity(folders=True)
    found = one(PICTURE, identity, "P1/S1/inner/IM1.png")
    assert found == replace(PICTURE, patient_id="P1", accession="S1", instance_uid="file P1/S1/inner/IM1.png")
    assert one(PICTURE, identity, "P1/IM1.png") == Reason.NO_PATIENT
    assert one(replace(SCAN, patient_id="P9"), identity, "P1/S1/a").patient_id == "P9"  # type: ignore[union-attr]


def test_a_study_stands_for_a_patient_only_where_the_site_says_so() -> None:
    found = one(SCAN, Identity(nameless=Nameless.STUDY))
    assert isinstance(found, Header)
    assert found.patient == ("", "of study A1")
    paired = pair(
        [found], [Report("r:1", "A1", "", (), "a"), Report("r:2", "A2", "", (), "b")], nameless_by_study=True
    )
    assert paired.reports_of == ((0,),)
    assert [alone.patient for alone in paired.unpaired] == [("", "of study A2")]


def test_a_table_says_whose_images_are(tmp_path: Path) -> None:
    path = tmp_path / "images.csv"
    path.write_text(
        "file_name,patient_id,accession_number,view\na/IM1.png,P1,S1,pa\n,P2,,\nb/IM1.png,P2,,Doe\n"
    )
    table = read_image_table(path)
    assert table.entries == [Entry(Refusal("images.csv:3", Reason.MALFORMED_ROW))]
    found = identified([PICTURE, PICTURE], Identity(lambda: table.images), files=["a/IM1.png", "b/IM1.png"])
    assert found == [
        Header("file a/IM1.png", "", "S1", "P1", "", "", "PA"),
        Header("file b/IM1.png", "", "", "P2", "", "", ""),
    ]


def test_the_command_takes_patients_from_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(2):
        write_dicom(
            tmp_path / "dicom" / f"IM{number}.dcm",
            instance=f"1.{number}",
            PatientID=None,
            PatientName="Mertens^Alma",
            AccessionNumber=f"A{number}",
        )
    (tmp_path / "images.csv").write_text("file_name,patient_id\nIM0.dcm,MRN-77\n")
    reports = write_reports(
        tmp_path / "reports.csv", [{"accession_number": "A0", "report": "Ms Mertens, MRN-77: clear lungs."}]
    )
    arguments = ["--dicom", tmp_path / "dicom", "--reports", reports, "--store", tmp_path / "store"]
    arguments += ["--name", "x", "--burned-in", "keep", "--home", tmp_path / "home", "--workers", "1"]
    arguments += ["--image-table", tmp_path / "images.csv"]
    monkeypatch.setattr("sys.argv", ["fedvlp-site", "ingest", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    store = Store(tmp_path / "store")
    assert list(store.column("patient")) == [
        open_pseudonyms(tmp_path / "home", create=False).patient("MRN-77", "")
    ]
    assert store.sections() == [{"report": "Ms [NAME], [ID]: clear lungs."}]


def pictures(folder: Path) -> Path:
    """PNG and JPEG files of two patients, one name twice."""
    for path in ("P1/S1/view.png", "P1/S2/view.png", "P2/S3/side.jpg", "loose.png"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(ramp(40, 40)).save(folder / path)
    return folder


def built(folder: Path, store: Path, **told: Any) -> tuple[Store, Account]:
    found = survey(Source(folder, **told), store)
    preparation = Preparation(image_size=16, burned_in="keep")
    done = ingest(found, Target(store, "x", preparation), SECRET, workers=1)
    return Store(store), done.account


def test_folders_of_pictures_become_a_store(tmp_path: Path) -> None:
    store, account = built(pictures(tmp_path / "folder"), tmp_path / "store", folders=True)
    assert (account.files.images, account.files.refused) == (3, {"no_patient": 1})
    assert set(store.column("patient")) == {SECRET.patient("P1", ""), SECRET.patient("P2", "")}
    assert set(store.column("study")) == {SECRET.study("accession", name) for name in ("S1", "S2", "S3")}
    assert len(set(store.column("instance"))) == 3


def test_a_report_table_that_names_pictures_and_patients_is_enough(tmp_path: Path) -> None:
    reports = tmp_path / "reports.csv"
    reports.write_text(
        "accession_number,patient_id,sop_instance_uids,report,file_names\n"
        "S1,P1,,Clear.,P1/S1/view.png\n,P2,,A nodule.,side.jpg\n"
    )
    store, account = built(pictures(tmp_path / "folder"), tmp_path / "store", reports=[reports])
    assert account.images.with_report == account.reports.paired == 2
    assert account.files.refused == {"no_patient": 2}
    told = dict(zip(store.column("patient"), store.sections(), strict=True))
    assert told == {
        SECRET.patient("P1", ""): {"report": "Clear."},
        SECRET.patient("P2", ""): {"report": "A nodule."},
    }


def image(instance: str, accession: str, date: str = "", patient: str = "P1") -> Header:
    return Header(instance, "", accession, patient, "", "CR", "", study_date=date)


def test_days_count_from_the_patient_s_first() -> None:
    images = [
        image("1", "A1", "20200301"),
        image("2", "A2", "20200229"),
        image("3", "A3", "not a date"),
        image("4", "A4"),
        image("5", "A5", "19991231", patient="P2"),
    ]
    reports = [
        Report("r:1", "A4", "P1", (), "a", date="2021-03-01"),
        Report("r:2", "A9", "P1", (), "b", date="2020-02-28"),
        Report("r:3", "A8", "P1", (), "c", date="2020-02"),
        Report("r:4", "A1", "P1", (), "d", date="1990-01-01"),
    ]
    paired = pair(images, reports)
    places = list(place(images, paired.shelf, paired.pairing, SECRET))
    days = {spot.instance or f"report {spot.reports[0]}": spot.days for spot in places}
    assert days == {
        **{SECRET.instance(name): count for name, count in (("1", 2), ("2", 1), ("3", None), ("4", 367))},
        SECRET.instance("5"): 0,
        "report 1": 0,
        "report 2": None,
    }


def test_a_study_uid_of_two_patients_is_two_studies_and_an_image_without_any_its_own() -> None:
    images = [replace(image(str(number), "", patient=f"P{number}"), study_uid="1.2") for number in (1, 2)]
    images += [image("3", ""), image("4", "")]
    paired = pair(images, [])
    assert len({spot.study for spot in place(images, paired.shelf, paired.pairing, SECRET)}) == 4
