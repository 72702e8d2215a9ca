import io
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from shelved import open_reports

from client.ingest.documents import KEY_OBJECTS
from client.ingest.images import read_images
from client.ingest.rejected import Reason, Refusal
from client.ingest.reports import Opened, Report
from common.imaging.preparation import Preparation

SMALL = Preparation(image_size=32, burned_in="keep")

BASIC, ENHANCED, COMPREHENSIVE, DOSE = (f"1.2.840.10008.5.1.4.1.1.88.{number}" for number in (11, 22, 33, 67))
CT = "1.2.840.10008.5.1.4.1.1.2"


def code(value: str, meaning: str, scheme: str = "DCM") -> Dataset:
    made = Dataset()
    made.CodeValue, made.CodingSchemeDesignator, made.CodeMeaning = value, scheme, meaning
    return made


def item(
    kind: str, name: Dataset | None, *children: Dataset, relation: str = "CONTAINS", **fields: Any
) -> Dataset:
    made = Dataset()
    made.RelationshipType, made.ValueType = relation, kind
    if name is not None:
        made.ConceptNameCodeSequence = [name]
    if children:
        made.ContentSequence = list(children)
    for keyword, value in fields.items():
        setattr(made, keyword, value)
    return made


def text(name: Dataset | None, words: str, *children: Dataset) -> Dataset:
    return item("TEXT", name, *children, TextValue=words)


def references(*uids: str, sop_class: str = CT) -> list[Dataset]:
    made = []
    for uid in uids:
        one = Dataset()
        one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID = sop_class, uid
        made.append(one)
    return made


def image(uid: str, relation: str = "CONTAINS") -> Dataset:
    return item("IMAGE", None, relation=relation, ReferencedSOPSequence=references(uid))


def in_study(*uids: str, sop_class: str = CT) -> list[Dataset]:
    series, study = Dataset(), Dataset()
    series.SeriesInstanceUID, series.ReferencedSOPSequence = "1.2.8", references(*uids, sop_class=sop_class)
    study.StudyInstanceUID, study.ReferencedSeriesSequence = "1.2.3", [series]
    return [study]


def write(path: Path, *content: Dataset, instance: str = "1.2.3.9", **fields: Any) -> Path:
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = fields.pop("syntax", ExplicitVRLittleEndian)
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = fields.pop("sop_class", BASIC)
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = instance
    made.SpecificCharacterSet = "ISO_IR 192"
    made.AccessionNumber, made.PatientID, made.PatientName = "A1", "MRN1", "Doe^Jane"
    made.StudyInstanceUID, made.StudyDate = "1.2.3", "20170211"
    made.ValueType = "CONTAINER"
    made.ConceptNameCodeSequence = [code("18748-4", "Diagnostic imaging report", "LN")]
    made.ContentSequence = list(content)
    for keyword, value in fields.items():
        setattr(made, keyword, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save_as(path, enforce_file_format=True)
    return path


def only(opened: Opened) -> Report:
    (report,) = opened.reports
    return report


FINDING, IMPRESSION = code("121071", "Finding"), code("121073", "Impression")


def test_the_header_says_whose_report_it_is(tmp_path: Path) -> None:
    report = only(open_reports(write(tmp_path / "a.dcm", text(FINDING, "Clear."))))
    assert (report.accession, report.patient_id, report.study_uids) == ("A1", "MRN1", ("1.2.3",))
    assert (report.date, report.place, report.sections) == ("2017-02-11", "a.dcm", {"findings": "Clear."})


@pytest.mark.parametrize("sop_class", [BASIC, ENHANCED, COMPREHENSIVE])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_the_tree_is_read_in_order_at_any_depth(tmp_path: Path, sop_class: str, syntax: str) -> None:
    measure = item("NUM", code("M-1", "Diameter"), relation="HAS PROPERTIES")
    value = Dataset()
    value.NumericValue, value.MeasurementUnitsCodeSequence = "12", [code("mm", "millimeter", "UCUM")]
    measure.MeasuredValueSequence = [value]
    mass = item("CODE", FINDING, measure, ConceptCodeSequence=[code("M", "Mass")])
    observer = item(
        "PNAME", code("121008", "Person Observer Name"), relation="HAS OBS CONTEXT", PersonName="X^Y"
    )
    found = item("CONTAINER", code("121070", "Findings"), text(None, "Lungs:"), mass, text(FINDING, "Clear."))
    said = item("CONTAINER", code("121072", "Impressions"), text(IMPRESSION, "One mass."))
    path = write(tmp_path / "a.dcm", observer, found, said, sop_class=sop_class, syntax=syntax)
    report = only(open_reports(path))
    assert report.text == "FINDINGS: Lungs:\nMass\nDiameter: 12 mm\nClear.\nIMPRESSION: One mass."
    assert report.parts() == report.sections


def test_a_heading_is_known_by_its_code_whatever_its_language(tmp_path: Path) -> None:
    report = only(
        open_reports(
            write(
                tmp_path / "a.dcm",
                item("CONTAINER", code("121072", "所見"), text(None, "正常")),
                text(code("X", "Befund", "99LOCAL"), "Größe normal."),
                text(code("Y", "Devices", "99LOCAL"), "Tube."),
                item(
                    "CODE",
                    code("121049", "Language"),
                    relation="HAS CONCEPT MOD",
                    ConceptCodeSequence=[code("ja", "x")],
                ),
            )
        )
    )
    assert report.sections == {"impression": "正常", "findings": "Größe normal.", "report": "Devices: Tube."}
    assert report.language == "ja"


def test_a_whole_report_in_one_item_is_divided_by_its_headers(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", text(FINDING, "Chest.\nFINDINGS: Clear.\nIMPRESSION: Normal."))
    assert only(open_reports(path)).sections == {"findings": "Chest.\nClear.", "impression": "Normal."}


def test_images_that_the_content_points_to_are_its_images(tmp_path: Path) -> None:
    region = item("SCOORD", None, image("1.2.3.2", "SELECTED FROM"), relation="INFERRED FROM")
    path = write(
        tmp_path / "a.dcm",
        text(FINDING, "Mass.", region),
        image("1.2.3.1"),
        CurrentRequestedProcedureEvidenceSequence=in_study("1.2.3.1", "1.2.3.7"),
    )
    assert only(open_reports(path)).instance_uids == ("1.2.3.2", "1.2.3.1")


def test_without_such_images_those_that_were_read_for_it_count(tmp_path: Path) -> None:
    evidence = in_study("1.2.3.1", "1.2.3.2")
    path = write(tmp_path / "a.dcm", text(FINDING, "x"), CurrentRequestedProcedureEvidenceSequence=evidence)
    other = write(
        tmp_path / "b.dcm",
        text(FINDING, "y"),
        CurrentRequestedProcedureEvidenceSequence=in_study("1.2.3.5", sop_class=DOSE),
    )
    assert only(open_reports(path)).instance_uids == ("1.2.3.1", "1.2.3.2")
    assert only(open_reports(other)).instance_uids == ()


def test_a_report_on_two_orders_has_both_accession_numbers(tmp_path: Path) -> None:
    order = Dataset()
    order.AccessionNumber, order.StudyInstanceUID = "A2", "1.2.4"
    report = only(
        open_reports(write(tmp_path / "a.dcm", text(FINDING, "x"), ReferencedRequestSequence=[order]))
    )
    assert (report.accession, report.further_accessions, report.study_uids) == (
        "A1",
        ("A2",),
        ("1.2.3", "1.2.4"),
    )


def test_letters_of_the_declared_character_set_arrive(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", text(FINDING, "Größe"), SpecificCharacterSet="ISO_IR 100")
    assert "Größe".encode("latin-1") in path.read_bytes()
    assert only(open_reports(path)).text == "FINDINGS: Größe"


def test_of_a_folder_with_images_only_the_narratives_are_taken(tmp_path: Path) -> None:
    report = write(tmp_path / "study" / "sr", text(FINDING, "x"))
    dose = write(tmp_path / "study" / "dose.dcm", text(FINDING, "x"), sop_class=DOSE)
    marked = write(tmp_path / "study" / "key.dcm", text(FINDING, "x"), sop_class=KEY_OBJECTS)
    assert read_images(marked, SMALL) is Reason.KEY_OBJECTS
    assert read_images(report, SMALL) is Reason.UNREAD_REPORT
    write(tmp_path / "study" / "image.dcm", sop_class=CT)
    opened = open_reports(tmp_path, images=tmp_path)
    assert [one.place for one in opened.reports] == ["study/sr"]
    assert opened.files == {report.resolve(), dose.resolve(), marked.resolve()}
    key = Refusal("study/key.dcm", Reason.KEY_OBJECTS)
    assert set(opened.refusals) == {Refusal("study/dose.dcm", Reason.NOT_A_REPORT), key}
    elsewhere = open_reports(tmp_path)
    assert set(elsewhere.refusals) == {*opened.refusals, Refusal("study/image.dcm", Reason.NOT_A_REPORT)}


def test_the_same_report_counts_once_and_its_successor_replaces_it(tmp_path: Path) -> None:
    write(tmp_path / "a.dcm", text(FINDING, "first"), instance="1.2.3.1")
    write(tmp_path / "b.dcm", text(FINDING, "first"), instance="1.2.3.1")
    write(tmp_path / "c.dcm", text(FINDING, "other text under this UID"), instance="1.2.3.1")
    opened = open_reports(tmp_path)
    assert [one.place for one in opened.reports] == ["a.dcm", "c.dcm"]
    assert opened.refusals == (Refusal("b.dcm", Reason.DUPLICATE_INSTANCE),)
    amended = in_study("1.2.3.1", sop_class=BASIC)
    write(
        tmp_path / "d.dcm", text(FINDING, "amended"), instance="1.2.3.2", PredecessorDocumentsSequence=amended
    )
    opened = open_reports(tmp_path)
    assert [one.place for one in opened.reports] == ["d.dcm"]
    assert {refusal.reason for refusal in opened.refusals} == {Reason.SUPERSEDED}


def nested(depth: int) -> Dataset:
    innermost = text(FINDING, "deep")
    for _ in range(depth):
        innermost = item("CONTAINER", code("121070", "Findings"), innermost)
    return innermost


@pytest.mark.parametrize("depth", [80, 150])
@pytest.mark.parametrize("defined", [True, False])
def test_a_tree_without_end_is_refused(tmp_path: Path, depth: int, *, defined: bool) -> None:
    tree = nested(depth)
    if not defined:
        for level in [tree, *(element for element in tree.iterall())]:
            if not isinstance(level, Dataset) and level.VR == "SQ":
                level.is_undefined_length = True
    opened = open_reports(write(tmp_path / "a.dcm", tree))
    assert opened.refusals == (Refusal("a.dcm", Reason.TOO_DEEP),)
    shallow = open_reports(write(tmp_path / "b.dcm", nested(30)))
    assert only(shallow).text == "FINDINGS: deep"


def raw_nested(depth: int) -> bytes:
    """A content sequence in a content sequence and so on, of undefined lengths, never closed."""
    opening = b"\x40\x00\x30\xa7SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    return opening * depth


def test_a_tree_that_never_closes_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", text(FINDING, "x"))
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"\x40\x00\x30\xa7")] + raw_nested(50_000))
    (refusal,) = open_reports(path, format_name="sr").refusals
    assert refusal.reason in (Reason.TOO_DEEP, Reason.MALFORMED_REPORT)


def test_a_report_of_50_megabytes_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", text(FINDING, "x" * 50_000_000))
    assert open_reports(path).refusals == (Refusal("a.dcm", Reason.TOO_LONG),)


def test_an_empty_document_is_an_empty_report(tmp_path: Path) -> None:
    assert open_reports(write(tmp_path / "a.dcm")).refusals == (Refusal("a.dcm", Reason.EMPTY_REPORT),)


def test_whatever_is_cut_or_damaged_has_a_reason_and_no_crash(tmp_path: Path) -> None:
    found = item("CONTAINER", code("121070", "Findings"), text(FINDING, "Clear."), image("1.2.3.1"))
    content = write(tmp_path / "whole.dcm", found, text(IMPRESSION, "Normal.")).read_bytes()
    assert dcmread(io.BytesIO(content)).SOPClassUID == BASIC
    for number in range(150, len(content), 7):
        broken = bytearray(content)
        broken[number] ^= 0xFF
        (tmp_path / f"flip{number}.dcm").write_bytes(broken)
        (tmp_path / f"cut{number}.dcm").write_bytes(content[:number])
    opened = open_reports(tmp_path)
    places = [one.place for one in (*opened.reports, *opened.refusals)]
    assert len(places) == len(set(places)) == len(list(tmp_path.iterdir()))
