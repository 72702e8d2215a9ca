"""What the headers of a study and a report's own record say is gone from the text before it is divided."""

from dataclasses import dataclass
from pathlib import Path

from ingest_samples import dataset, ramp, write_dicom
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from shelved import open_reports, pair

from client.ingest.deidentify import Identifiers
from client.ingest.deidentify.headers import identifiers_of
from client.ingest.images import Header
from client.ingest.reports import Report, parse_column_map
from client.ingest.scrubbers import ALONE
from client.ingest.texts import change_marks, read_texts
from common.text.sections import Sections


def image(instance: str, accession: str, *, patient: str = "P1", **known: tuple[str, ...]) -> Header:
    return Header(instance, "", accession, patient, "", "CR", "", identifiers=Identifiers(**known))


def report(text: str, *, accession: str = "A1", patient: str = "P1", **sections: str) -> Report:
    return Report("r:1", accession, patient, (), text, sections=sections)


@dataclass(frozen=True)
class Scrubbed:
    """The texts of all reports, and what was taken out of them."""

    sections: tuple[Sections, ...]
    scrubbed: dict[str, int]


def texts(images: list[Header], reports: list[Report], *, workers: int = 1) -> Scrubbed:
    paired = pair(images, reports)
    found = read_texts(images, paired.shelf, paired.pairing, workers=workers)
    return Scrubbed(tuple(found.of([number]) for number in range(len(reports))), dict(found.scrubbed))


def test_names_of_the_header_are_gone_before_sections_are_taken() -> None:
    images = [image("1", "A1", names=("Findings^Otto", "Quillfeather^Ida"))]
    scrubbed = texts(
        images, [report("FINDINGS: Otto Findings was seen by QUILLFEATHER.\nIMPRESSION: Clear lungs.")]
    )
    assert scrubbed.sections == ({"findings": "[NAME] was seen by [NAME].", "impression": "Clear lungs."},)
    assert scrubbed.scrubbed == {"NAME": 2}


def test_as_many_processes_as_there_are_leave_the_same_texts() -> None:
    images = [image("1", "A7", patient="P7", names=("Quillfeather^Ida",))]
    reports = [
        report(f"Quillfeather, seen on 3 May 20{10 + number % 9}. Clear lungs.", accession=f"A{number}",
               patient=f"P{number % 700}")
        for number in range(ALONE + 150)
    ]  # fmt: skip
    assert texts(images, reports, workers=2) == texts(images, reports)


def test_a_report_loses_what_other_studies_of_its_patient_tell() -> None:
    images = [
        image("1", "A1"),
        image("2", "A2", names=("Quillfeather^Ida",)),
        image("3", "A3", patient="P2", names=("Oak^Al",)),
    ]
    reports = [report("Quillfeather, see A2. Oak furniture."), report("Quillfeather again.", accession="A9")]
    assert [one["report"] for one in texts(images, reports).sections] == [
        "[NAME], see A2. Oak furniture.",
        "[NAME] again.",
    ]


def test_a_number_of_thousands_of_people_keeps_no_report_waiting() -> None:
    images = [image(str(number), f"A{number}", ids=(f"STUDY-{number}",)) for number in range(2000)]
    images[7] = image("7", "A7", names=("Quillfeather^Ida",))
    reports = [report("Quillfeather, clear.", accession=f"A{number}") for number in range(2000)]
    found = texts(images, reports).sections
    assert found[7] == {"report": "[NAME], clear."}
    assert found[9] == {"report": "Quillfeather, clear."}


def test_each_section_that_the_source_makes_is_scrubbed_and_no_strange_title_is_kept() -> None:
    divided = report("", findings="Mr Quillfeather is well.", **{"notes on quillfeather": "None."})
    assert texts([image("1", "A1", names=("Quillfeather^Ida",))], [divided]).sections == (
        {"findings": "Mr [NAME] is well.", "report": "notes on [NAME]: None."},
    )


def test_a_refused_report_leaves_no_text() -> None:
    assert texts([image("1", "A1")], [report("Of somebody else.", patient="P2")]).sections == ({},)


def test_a_report_counts_once_whatever_images_it_has() -> None:
    images = [image(str(number), "A1") for number in range(3)]
    assert texts(images, [report("Call 555-010-4477.")]).scrubbed == {"PHONE": 1}


def test_sentences_that_compare_are_marked_by_section() -> None:
    sections = {
        "findings": "Clear lungs. Unchanged nodule.\nNo effusion. New opacity.",
        "impression": "Nodule.",
    }
    assert change_marks(sections) == {"findings": [1, 3]}


def test_a_header_gives_all_its_names_numbers_dates_and_places() -> None:
    made = dataset(
        ramp(),
        PatientName="Quillfeather^Ida^Maria",
        OtherPatientIDs="OLD-1",
        PatientBirthDate="19500102",
        ReferringPhysicianName="Oak^Al",
        OperatorsName=["Elm^Bo", "Fir^Cy"],
        InstitutionName="Hollow Clinic",
        InstitutionAddress="1 Mill Lane",
        PatientTelephoneNumbers="555 0100",
        StudyDate="20200301",
        AcquisitionDateTime="20200302101500",
        StudyID="S-9",
    )
    made.PatientMotherBirthName = "Reed^Ann"
    request = Dataset()
    request.AccessionNumber, request.RequestingPhysician = "A77", "Ash^Di"
    made.RequestAttributesSequence = Sequence([request])
    found = identifiers_of(made)
    assert set(found.names) == {"Quillfeather^Ida^Maria", "Oak^Al", "Elm^Bo", "Fir^Cy", "Reed^Ann", "Ash^Di"}
    assert {"MRN1", "OLD-1", "A1", "A77", "S-9", "1.2.3", "555 0100"} <= set(found.ids)
    assert set(found.dates) == {"20200301", "20200302"}
    assert found.birth_dates == ("19500102",)
    assert set(found.institutions) == {"Hollow Clinic", "1 Mill Lane"}


def test_a_damaged_element_does_not_hide_the_others(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", PatientBirthDate="19500102", PatientName="Doe^Jane")
    content = path.read_bytes()
    path.write_bytes(content.replace(b"19500102", b"\xff\xfe\xff\xfe\xff\xfe\xff\xfe"))
    assert identifiers_of(dcmread(path)).names == ("Doe^Jane",)


def test_a_table_s_columns_tell_whom_its_text_names(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text(
        "accession_number,patient_id,sop_instance_uids,report,arzt,patient_name\n"
        'A1,P1,,"Clear. Signed Oak, for Quillfeather.","Oak, Al;Fir, Cy",Quillfeather^Ida\n'
    )
    (read,) = open_reports(path, parse_column_map(["physicians=arzt"])).reports
    assert read.identifiers.names == ("Quillfeather^Ida", "Oak, Al", "Fir, Cy")
    assert texts([], [read]).sections == ({"report": "Clear. Signed [NAME], for [NAME]."},)


def test_a_fhir_report_names_its_patient_its_physicians_and_their_places(tmp_path: Path) -> None:
    path = tmp_path / "r.ndjson"
    path.write_text(
        '{"resourceType": "Patient", "id": "p", "name": [{"family": "Quillfeather", "given": ["Ida"]}],'
        ' "birthDate": "1950-01-02", "identifier": [{"value": "MRN-5"}],'
        ' "address": [{"city": "Reedhaven"}]}\n'
        '{"resourceType": "Practitioner", "id": "d", "name": [{"text": "Al Oakworth"}]}\n'
        '{"resourceType": "DiagnosticReport", "subject": {"reference": "Patient/p"},'
        ' "performer": [{"reference": "Practitioner/d"}, {"display": "Bo Elmrick"}],'
        ' "conclusion": "Quillfeather seen by Oakworth and Elmrick in Reedhaven."}\n'
    )
    (read,) = open_reports(path).reports
    assert read.patient_id == "MRN-5"
    assert read.identifiers.birth_dates == ("1950-01-02",)
    assert texts([], [read]).sections == ({"report": "[NAME] seen by [NAME] and [NAME] in [PLACE]."},)
