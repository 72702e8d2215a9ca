"""Report files that harm whoever reads them, in real worker processes."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from faulty_reports import read_faulty
from ingest_crashes import PREPARATION, SECRET
from ingest_samples import write_dicom, write_reports
from shelved import new_shelf, open_reports

from client.ingest.build import Target, ingest
from client.ingest.rejected import REJECTED, Reason, Refusal
from client.ingest.reports import reading
from client.ingest.reports.reading import read_each, read_together
from client.ingest.reports.report import ReportFile
from client.ingest.survey import Source, Survey, survey
from common.errors import ConfigurationError, InputRefusedError
from common.store import Store

FIXTURES = Path(__file__).parent / "report_fixtures"
FAULTS = {
    "segfault": Reason.DECODER_CRASHED,
    "raise": Reason.DECODER_CRASHED,
    "memory": Reason.DECODER_OUT_OF_MEMORY,
    "loop": Reason.DECODER_TIMED_OUT,
}


def files(folder: Path, *names: str) -> list[ReportFile]:
    for name in names:
        (folder / name).touch()
    return [ReportFile(folder / name, name) for name in names]


@pytest.mark.parametrize("read", [read_each, read_together])
@pytest.mark.parametrize(
    "fault", [pytest.param(fault, marks=[pytest.mark.slow][: fault == "loop"]) for fault in FAULTS]
)
def test_a_file_that_harms_its_reader_costs_itself_only(
    read: Callable[..., None], fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "CPU_SECONDS", 1)
    given = files(tmp_path, "a", fault, "b", "c")
    shelf = new_shelf()
    read(given, read_faulty, shelf, folder=tmp_path, workers=2)
    assert [report.place for _, report in shelf.reports()] == ["a", "b", "c"]
    assert list(shelf.refusals()) == [Refusal(fault, FAULTS[fault])]


def test_files_that_are_all_harmful_are_all_refused(tmp_path: Path) -> None:
    given = files(tmp_path, "raise-a", "raise-b")
    shelf = new_shelf()
    read_together(given, read_faulty, shelf, folder=tmp_path, workers=1)
    assert (shelf.num_reports(), len(list(shelf.refusals()))) == (0, 2)


def test_confined_or_not_every_format_gives_the_same(tmp_path: Path) -> None:
    for folder in FIXTURES.iterdir():
        shutil.copytree(folder, tmp_path / folder.name)
    write_reports(tmp_path / "reports.csv", [{"accession_number": "A1", "report": "Größe"}, {"report": ""}])
    opened = open_reports(tmp_path)
    assert open_reports(tmp_path, workers=2) == opened
    assert len(opened.num_reports_by_format) == 8


def test_json_that_eats_memory_is_refused_and_the_lines_beside_it_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MEMORY_BYTES", 16 << 20)
    (tmp_path / "bomb.json").write_bytes(b"[" + b"[]," * (2 << 20) + b"[]]")
    shutil.copy(FIXTURES / "fhir" / "bundle_r4.json", tmp_path)
    opened = open_reports(tmp_path, workers=1)
    assert Refusal("bomb.json", Reason.DECODER_OUT_OF_MEMORY) in opened.refusals
    assert opened.reports == open_reports(FIXTURES / "fhir" / "bundle_r4.json").reports


def images(folder: Path) -> Path:
    write_dicom(folder / "dicom" / "a.dcm", AccessionNumber="A1", PatientID="P1")
    return folder / "dicom"


BAD: dict[str, tuple[str, Reason]] = {
    "latin.csv": ("accession_number,patient_id,sop_instance_uids,report\nA1,,,Größe\n", Reason.NOT_UTF8),
    "quote.csv": ('accession_number,patient_id,sop_instance_uids,report\nA1,,,"x\n', Reason.MALFORMED_TABLE),
    "bills.csv": ("invoice,sum\n1,2\n", Reason.MISSING_COLUMN),
    "null.txt": ("A\0B", Reason.NOT_TEXT),
    "cut.json": ('{"resourceType": "DiagnosticReport", "concl', Reason.MALFORMED_REPORT),
    "cut.xml": ("<eCitation><uId id='1'", Reason.MALFORMED_REPORT),
    "bomb.xml": ('<!DOCTYPE a [<!ENTITY b "c">]>\n<eCitation>&b;</eCitation>', Reason.FORBIDDEN_ENTITY),
    "deep.ndjson": ("[" * 100_000, Reason.TOO_DEEP),
}


def write_bad(folder: Path, *names: str) -> None:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(BAD[name][0].encode("latin-1"))


def test_each_bad_file_of_a_folder_is_one_refusal_and_the_ingest_goes_on(tmp_path: Path) -> None:
    write_bad(tmp_path / "reports", *BAD)
    (tmp_path / "reports" / "A1.txt").write_text("A good report.")
    target = Target(tmp_path / "store", "lakeside", PREPARATION)
    found = survey(Source(images(tmp_path), [tmp_path / "reports"]), target.store)
    account = ingest(found, target, SECRET, workers=1).account
    assert (account.reports.paired, found.warnings) == (1, [])
    assert pq.read_table(target.store / REJECTED).to_pylist() == [
        {"file": f"{name}:1" if name == "deep.ndjson" else name, "reason": reason.value}
        for name, (_, reason) in sorted(BAD.items())
    ]
    Store(target.store).verify()


def surveyed(folder: Path, *reports: Path) -> Survey:
    return survey(Source(images(folder), reports), folder / "store")


@pytest.mark.parametrize("name", BAD)
def test_where_not_one_report_can_be_used_the_command_stops_before_anything_is_written(
    tmp_path: Path, name: str
) -> None:
    write_bad(tmp_path / "reports", name)
    expected = ConfigurationError if BAD[name][1] is Reason.MISSING_COLUMN else InputRefusedError
    with pytest.raises(expected) as refusal:
        surveyed(tmp_path, tmp_path / "reports")
    assert "\n" not in str(refusal.value)
    assert name in str(refusal.value) or BAD[name][1].value in str(refusal.value)


def test_a_path_without_a_report_beside_one_with_some_is_a_warning(tmp_path: Path) -> None:
    write_bad(tmp_path / "old", "latin.csv")
    write_reports(tmp_path / "new.csv", [{"accession_number": "A1", "report": "Clear."}])
    found = surveyed(tmp_path, tmp_path / "old", tmp_path / "new.csv")
    (warning,) = found.warnings
    assert "latin.csv is not UTF-8 after line 1" in warning
    assert [report.accession for _, report in found.reports.reports()] == ["A1"]
