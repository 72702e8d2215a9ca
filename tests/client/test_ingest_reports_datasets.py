import shutil
from pathlib import Path

import pytest
from shelved import open_reports, pair

from client.ingest.images.header import Header
from client.ingest.pairing import identify
from client.ingest.rejected import Reason, Refusal
from common.errors import ConfigurationError

FIXTURES = Path(__file__).parent / "report_fixtures"


def pictures(*files: str) -> list[Header]:
    """Images of which nothing is known but their files' names."""
    return [
        Header(instance_uid=file, study_uid="", accession="", patient_id="", issuer="", modality="", view="")
        for file in files
    ]


def paired(folder: str, *files: str) -> tuple[list[Header], list[list[str]]]:
    """Who the images of a data set are, and the first words of the reports that each of them has."""
    opened = open_reports(FIXTURES / folder)
    images = identify(pictures(*files), opened.images, files=files)
    pairing = pair(images, opened.reports, files=files)
    assert pairing.refused == ()
    words = [[opened.reports[number].text.split()[0] for number in numbers] for numbers in pairing.reports_of]
    return images, words


MIMIC = [f"0000000{number}-aaaaaaaa-bbbbbbbb-cccccccc-dddddddd" for number in (1, 2, 3, 4)]


def test_mimic_reports_find_their_jpg_images_by_the_metadata() -> None:
    files = [
        f"files/p19/p19999901/s59999901/{MIMIC[0]}.jpg",
        f"files/p19/p19999901/s59999901/{MIMIC[1]}.jpg",
        f"files/p19/p19999901/s59999902/{MIMIC[2]}.jpg",
        f"files/p19/p19999902/s59999903/{MIMIC[3]}.jpg",
    ]
    opened = open_reports(FIXTURES / "mimic")
    images = identify(pictures(*files), opened.images, files=files)
    assert [(one.patient_id, one.accession, one.view) for one in images] == [
        ("19999901", "59999901", "PA"),
        ("19999901", "59999901", "LATERAL"),
        ("19999901", "59999902", "AP"),
        ("19999902", "59999903", "AP"),
    ]
    assert pair(images, opened.reports, files=files).reports_of == ((0,), (0,), (1,), (2,))


def test_mimic_reports_keep_their_patient_study_date_and_sections() -> None:
    report = open_reports(FIXTURES / "mimic").reports[0]
    assert (report.patient_id, report.accession, report.date) == ("19999901", "59999901", "2180-05-06")
    assert report.place == "files/p19/p19999901/s59999901.txt"
    assert list(report.parts()) == [
        *("preamble", "examination", "indication", "technique", "comparison", "findings", "impression")
    ]


def test_mimic_finds_the_tables_above_a_part_of_its_reports() -> None:
    opened = open_reports(FIXTURES / "mimic" / "files" / "p19" / "p19999901")
    assert [report.file_names for report in opened.reports] == [tuple(MIMIC[:2]), tuple(MIMIC[2:3])]


def test_mimic_of_the_dicom_release_is_read_by_its_record_list(tmp_path: Path) -> None:
    shutil.copytree(FIXTURES / "mimic" / "files", tmp_path / "files")
    (tmp_path / "cxr-record-list.csv").write_text(
        "subject_id,study_id,dicom_id,path\n"
        f"19999902,59999903,{MIMIC[3]},files/p19/p19999902/s59999903/{MIMIC[3]}.dcm\n"
    )
    opened = open_reports(tmp_path)
    assert [report.file_names for report in opened.reports] == [(), (), (MIMIC[3],)]
    assert [image.accession for image in opened.images] == ["59999903"]


def test_a_compressed_mimic_table_is_asked_for_unpacked(tmp_path: Path) -> None:
    shutil.copytree(FIXTURES / "mimic" / "files", tmp_path / "files")
    (tmp_path / "mimic-cxr-2.0.0-metadata.csv.gz").write_bytes(b"\x1f\x8b")
    with pytest.raises(ConfigurationError, match="gunzip"):
        open_reports(tmp_path)


def test_a_label_table_beside_mimic_s_reports_is_no_report() -> None:
    assert open_reports(FIXTURES / "mimic").refusals == (
        Refusal("mimic-cxr-2.0.0-split.csv", Reason.NOT_A_REPORT),
    )


@pytest.mark.parametrize(
    "files",
    [
        ("CXR9001_1_IM-0001-3001.png", "CXR9002_IM-0002-1001.png"),
        ("9001/1_IM-0001-3001.dcm", "9002/IM-0002-1001.dcm"),
    ],
)
def test_openi_reports_find_their_images_in_both_releases(files: tuple[str, ...]) -> None:
    images, words = paired("openi", *files)
    assert [image.patient_id for image in images] == ["CXR9001", "CXR9002"]
    assert words == [["COMPARISON:"], []]


def test_openi_sections_are_those_of_the_abstract() -> None:
    opened = open_reports(FIXTURES / "openi")
    (report,) = opened.reports
    assert report.sections == {
        "comparison": "None.",
        "indication": "Invented cough & fever",
        "findings": "The invented lungs are clear. No XXXX effusion.",
        "impression": "Normal invented chest.",
    }
    assert opened.refusals == (Refusal("ecgen-radiology/9002.xml", Reason.EMPTY_REPORT),)


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE eCitation [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">'
    '<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]><eCitation><AbstractText>&c;</AbstractText></eCitation>'
)
FILE = '<!DOCTYPE e [<!ENTITY x SYSTEM "file:///etc/passwd">]><eCitation><AbstractText>&x;</AbstractText></eCitation>'


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (BOMB, Reason.FORBIDDEN_ENTITY),
        (FILE, Reason.FORBIDDEN_ENTITY),
        ("<eCitation>" * 100_000, Reason.TOO_DEEP),
        ("<eCitation><AbstractText>cut", Reason.MALFORMED_REPORT),
        ("<eCitation>&undeclared;</eCitation>", Reason.MALFORMED_REPORT),
        ('<?xml version="1.0" encoding="utf-99"?><eCitation/>', Reason.MALFORMED_REPORT),
        ("<eCitation/>", Reason.EMPTY_REPORT),
        (f"<eCitation><AbstractText>{'x' * 50_000_000}</AbstractText></eCitation>", Reason.TOO_LONG),
    ],
)
def test_hostile_xml_is_refused(tmp_path: Path, content: str, reason: Reason) -> None:
    (tmp_path / "1.xml").write_text(content)
    opened = open_reports(tmp_path)
    assert (opened.reports, opened.refusals) == ((), (Refusal("1.xml", reason),))


def test_chexpert_images_have_patient_study_and_view_but_no_report() -> None:
    files = ("train/patient99901/study1/view1_frontal.jpg", "train/patient99902/study1/view2_lateral.jpg")
    images, words = paired("chexpert", *files)
    assert [(one.patient_id, one.accession, one.view) for one in images] == [
        ("patient99901", "patient99901/study1", "AP"),
        ("patient99902", "patient99902/study1", "LATERAL"),
    ]
    assert words == [[], []]
    assert open_reports(FIXTURES / "chexpert").refusals == (Refusal("train.csv:5", Reason.MALFORMED_ROW),)


def test_chexpert_plus_has_one_report_for_all_images_of_a_study() -> None:
    files = (
        "PNG/train/patient99902/study1/view1_frontal.png",
        "PNG/train/patient99902/study1/view2_lateral.png",
        "PNG/valid/patient99903/study2/view1_frontal.png",
    )
    images, words = paired("chexpert_plus", *files)
    assert [image.patient_id for image in images] == ["patient99902", "patient99902", "patient99903"]
    assert words == [["NARRATIVE:"], ["NARRATIVE:"], []]
    (report,) = open_reports(FIXTURES / "chexpert_plus").reports
    assert report.sections == {
        "preamble": "CHEST 2 VIEWS",
        "indication": "invented cough",
        "findings": "Invented, clear lungs.",
        "impression": '1. "Normal" invented chest.',
    }


def test_padchest_has_one_spanish_report_for_all_images_of_a_study() -> None:
    images, words = paired("padchest", "0/99901_aaa.png", "0/99901_bbb.png", "1/99902_ccc.png")
    assert [(one.patient_id, one.accession, one.view) for one in images] == [
        ("88801", "99901", "PA"),
        ("88801", "99901", "LATERAL"),
        ("88802", "99902", "AP"),
    ]
    assert words == [["sin"], ["sin"], []]
    (report,) = open_reports(FIXTURES / "padchest").reports
    assert (report.language, report.date) == ("es", "2014-09-15")


def test_roco_captions_run_over_lines_and_images_of_one_article_are_one_patient() -> None:
    opened = open_reports(FIXTURES / "roco")
    assert [report.text for report in opened.reports] == [
        "An invented axial CT. \nIt goes on",
        "An invented radiograph.",
    ]
    assert set(opened.refusals) == {
        Refusal("data/train/radiology/keywords.txt", Reason.NOT_A_REPORT),
        Refusal("data/train/radiology/captions.txt:4", Reason.EMPTY_REPORT),
    }
    files = ("images/ROCO_99901.jpg", "images/PMC99001_XX-1-g002.jpg", "images/ROCO_99903.jpg")
    images, words = paired("roco", *files)
    assert [image.patient_id for image in images] == ["PMC99001", "PMC99001", "ROCO_99903"]
    assert words == [["An"], ["An"], []]


@pytest.mark.parametrize(
    ("folder", "files", "patients"),
    [
        ("roco_table", ("PMC99001_XX-1-g001.jpg", "PMC99002_XX-2-g001.jpg"), ["PMC99001", "PMC99002"]),
        (
            "rocov2",
            ("train/ROCOv2_2023_train_999001.jpg", "train/ROCOv2_2023_train_999002.jpg"),
            ["ROCOv2_2023_train_999001", "ROCOv2_2023_train_999002"],
        ),
    ],
)
def test_roco_s_tables_are_read_too(folder: str, files: tuple[str, ...], patients: list[str]) -> None:
    images, words = paired(folder, *files)
    assert [image.patient_id for image in images] == patients
    assert [len(reports) for reports in words] == [1, 1]


def test_a_caption_that_two_files_give_counts_once(tmp_path: Path) -> None:
    (tmp_path / "captions.txt").write_text("ROCO_1\tAn invented CT.\n")
    (tmp_path / "radiologytraindata.csv").write_text("id,name,caption\nROCO_1,PMC7_x.jpg,An invented CT.\n")
    (report,) = open_reports(tmp_path).reports
    assert (report.file_names, report.patient_id) == (("ROCO_1", "PMC7_x.jpg"), "PMC7")
