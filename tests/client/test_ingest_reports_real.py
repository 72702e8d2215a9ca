"""Every report of the real hospital folders, against their truth files; no pixel is decoded."""

import csv
import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydicom import dcmread
from shelved import open_reports, pair

from client.ingest.images.header import Header
from client.ingest.reports import Opened
from common.text.sections import parse_sections

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
FORMATS = {
    "abdominal-centre": ("csv", 354, 539),
    "archive-unreported": ("", 0, 875),
    "europa-clinic": ("txt", 84, 113),
    "neuro-institute": ("fhir", 424, 635),
    "north-general": ("csv", 118, 136),
    "public-bank": ("csv", 205, 280),
    "river-ct": ("csv", 128, 209),
    "spine-clinic": ("csv", 174, 251),
    "ultrasound-ward": ("fhir", 117, 117),
    "university-chest": ("sr", 150, 157),
}
"""Hospital -> format of its reports, their number, and the number of its images."""
TAGS = [
    "SOPInstanceUID",
    "StudyInstanceUID",
    "AccessionNumber",
    "PatientID",
    "IssuerOfPatientID",
    "SOPClassUID",
]

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="no real hospital folders in ../shared/data")


@dataclass(frozen=True)
class Hospital:
    """One folder: its images by their headers, its reports, and which image has which accession in truth."""

    name: str
    images: list[Header]
    opened: Opened
    accessions: dict[str, str]


@pytest.fixture(scope="module", params=list(FORMATS))
def hospital(request: pytest.FixtureRequest) -> Hospital:
    folder = SHARED / "hospitals" / request.param
    places = ("reports.csv", "reports.ndjson", "reports")
    reports = next((folder / place for place in places if (folder / place).exists()), folder / "dicom")
    with (SHARED / "truth" / request.param / "labels.csv").open(encoding="utf-8", newline="") as file:
        accessions = {row["sop_instance_uid"]: row["accession"] for row in csv.DictReader(file)}
    opened = open_reports(reports, images=folder / "dicom")
    images = [header(path) for path in sorted(folder.rglob("IM*.dcm"))]
    return Hospital(request.param, images, opened, accessions)


def header(path: Path) -> Header:
    dataset = dcmread(path, stop_before_pixels=True, specific_tags=TAGS)
    return Header(
        instance_uid=str(dataset.SOPInstanceUID),
        study_uid=str(dataset.StudyInstanceUID),
        accession=str(dataset.AccessionNumber),
        patient_id=str(dataset.PatientID),
        issuer=str(dataset.get("IssuerOfPatientID", "")),
        modality="",
        view="",
    )


def test_every_report_is_read_and_every_image_seen(hospital: Hospital) -> None:
    name, num_reports, num_images = FORMATS[hospital.name]
    assert hospital.opened.num_reports_by_format == ({name: num_reports} if name else {})
    assert hospital.opened.refusals == ()
    assert {image.instance_uid for image in hospital.images} == set(hospital.accessions)
    assert len(hospital.images) == num_images


def test_every_report_has_exactly_its_images(hospital: Hospital) -> None:
    of_accession = defaultdict(set)
    for instance, accession in hospital.accessions.items():
        of_accession[accession].add(instance)
    reports = hospital.opened.reports
    pairing = pair(hospital.images, reports)
    assert (pairing.unpaired, pairing.refused) == ((), ())
    found: defaultdict[int, set[str]] = defaultdict(set)
    for image, numbers in zip(hospital.images, pairing.reports_of, strict=True):
        for number in numbers:
            found[number].add(image.instance_uid)
    for number, report in enumerate(reports):
        assert found[number] == set(report.instance_uids or of_accession[report.accession])
        assert found[number] <= of_accession[report.accession]
    if reports:
        assert all(pairing.reports_of)


def test_every_text_arrives_as_it_stands_in_its_file(hospital: Hospital) -> None:
    folder, read = SHARED / "hospitals" / hospital.name, FORMATS[hospital.name][0]
    if not read:
        pytest.skip("this hospital has no reports")
    texts = {"csv": csv_texts, "txt": txt_texts, "fhir": fhir_texts, "sr": sr_texts}[read](folder)
    assert {report.place: report.text for report in hospital.opened.reports if not report.sections} == {
        place: text for place, text in texts.items() if read != "sr"
    }
    # The one TEXT item of a structured report stands under the header of its concept, "Finding".
    assert {report.place: report.sections for report in hospital.opened.reports if report.sections} == {
        place: parse_sections(f"FINDINGS: {text}") for place, text in texts.items() if read == "sr"
    }


def csv_texts(folder: Path) -> dict[str, str]:
    with (folder / "reports.csv").open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        return {f"reports.csv:{reader.line_num}": row["report"] for row in reader}


def txt_texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in (folder / "reports").iterdir()}


def fhir_texts(folder: Path) -> dict[str, str]:
    lines = (folder / "reports.ndjson").read_text(encoding="utf-8").splitlines()
    return {
        f"reports.ndjson:{number}": json.loads(line)["conclusion"] for number, line in enumerate(lines, 1)
    }


def sr_texts(folder: Path) -> dict[str, str]:
    paths = (folder / "dicom").rglob("SR*.dcm")
    return {
        str(path.relative_to(folder / "dicom")): str(dcmread(path).ContentSequence[0].TextValue)
        for path in paths
    }
