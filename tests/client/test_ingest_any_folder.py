"""Whatever lies in a folder: every entry ends in the store, among the reports, or in the refusals."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ingest_crashes import PREPARATION, SECRET
from ingest_samples import ramp, write_dicom, write_reports
from PIL import Image

from client.ingest import archive
from client.ingest.account import Account
from client.ingest.build import Target, ingest
from client.ingest.identity import Nameless
from client.ingest.rejected import REJECTED
from client.ingest.survey import Source, survey
from common.errors import FederationError
from common.store import Store

LONG = 50 << 20
"""Bytes of a report that no person wrote."""


def dicom(path: Path, number: int, **attributes: object) -> None:
    names = {"PatientID": f"P{number % 3}", "AccessionNumber": f"A{number % 2}"}
    write_dicom(path, instance=f"1.2.{number}", **names | attributes)


def cut(path: Path, number: int) -> None:
    dicom(path, number)
    path.write_bytes(path.read_bytes()[: 40 * number])


MAKERS: dict[str, Callable[[Path, int], object]] = {
    "image": dicom,
    "picture": lambda path, _: Image.fromarray(ramp()).save(path, "PNG"),
    "image of nobody": lambda path, number: dicom(path, number, PatientID=None),
    "image without study": lambda path, number: dicom(
        path, number, AccessionNumber=None, StudyInstanceUID=None
    ),
    "cut image": cut,
    "bomb": lambda path, number: dicom(path, number, Rows=65535, Columns=65535),
    "empty": lambda path, _: path.write_bytes(b""),
    "noise": lambda path, number: path.write_bytes(bytes(range(number, 256)) * 3),
    "preamble alone": lambda path, _: path.write_bytes(bytes(128) + b"DICM"),
    "report": lambda path, number: path.with_name(f"A{number % 2}.txt").write_bytes(
        b"Kein Befund: \xfc\xff."
    ),
    "table": lambda path, number: write_reports(
        path.with_suffix(".csv"),
        [
            {
                "accession_number": f"A{number % 2}",
                "patient_id": f"P{number % 3}",
                "report": 'A "quoted",\nline.',
            },
            {"accession_number": "", "patient_id": "", "report": "Of nobody."},
        ],
    ),
    "broken table": lambda path, _: path.with_suffix(".csv").write_bytes(b'report\n"never closed'),
    "broken lines": lambda path, _: path.with_suffix(".ndjson").write_bytes(
        b'{"resourceType": "DiagnosticReport", "conclusion": "Fine."}\n{"never closed\n[[[\n\xff\n'
    ),
    "link": lambda path, _: path.symlink_to(path.parent),
    "link to nothing": lambda path, _: path.symlink_to("nowhere"),
    "link to itself": lambda path, _: path.symlink_to(path),
    "pipe": lambda path, _: os.mkfifo(path),
}
FOLDERS = ("", "a", "a/b", "-rf", "..x")
NAMES = (
    "IM1",
    "IM2.dcm",
    "a\nb",
    "ünïcode",
    os.fsdecode(b"\xff\xfe"),
    "$(reboot)",
    "'; drop",
    "-",
    "x" * 200,
)

entries = st.lists(
    st.tuples(
        st.sampled_from(sorted(MAKERS)), st.sampled_from(FOLDERS), st.sampled_from(NAMES), st.integers(1, 6)
    ),
    min_size=1,
    max_size=8,
)


def listed(folder: Path) -> list[str]:
    """Every entry of a folder that is no folder itself, links to folders among them."""
    found = []
    for parent, folders, names in os.walk(folder):
        links = [name for name in folders if Path(parent, name).is_symlink()]
        found += [os.path.relpath(Path(parent, name), folder) for name in (*names, *links)]
    return found


def make(folder: Path, chosen: list[tuple[str, str, str, int]]) -> None:
    for kind, inner, name, number in chosen:
        place = folder / inner / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if not os.path.lexists(place):
            MAKERS[kind](place, number)


def build(folder: Path, store: Path, *reports: Path, nameless: Nameless = Nameless.REFUSE) -> Account:
    found = survey(Source(folder, list(reports), nameless=nameless), store, workers=0)
    return ingest(found, Target(store, "lakeside", PREPARATION), SECRET, workers=1).account


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "read_all", lambda files, read, **_: map(read, files))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(chosen=entries, with_reports=st.booleans(), nameless=st.sampled_from(Nameless))
def test_every_entry_of_any_folder_is_accounted_for(
    in_this_process: None,
    chosen: list[tuple[str, str, str, int]],
    with_reports: bool,
    nameless: Nameless,
) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder, store = Path(scratch, "folder"), Path(scratch, "store")
        folder.mkdir()
        make(folder, chosen)
        try:
            account = build(folder, store, *[folder][: int(with_reports)], nameless=nameless)
        except FederationError:
            assert not store.exists()
            return
        files, reports = account.files, account.reports
        assert files.seen == len(listed(folder))
        assert files.seen == files.images + files.reports + sum(files.refused.values())
        assert reports.read == reports.paired + reports.without_image + sum(reports.refused.values())
        refused = pq.read_table(store / REJECTED).to_pylist()
        assert len(refused) == sum(files.refused.values()) + sum(reports.refused.values())
        assert len({row["file"] for row in refused}) == len(refused)
        opened = Store(store)
        opened.verify()
        assert (
            len(opened.images) == account.images.with_report + account.images.without_report == files.images
        )
        assert len(opened) == files.images + reports.without_image


def test_a_report_of_fifty_megabytes_and_broken_lines_cost_themselves_only(
    in_this_process: None, tmp_path: Path
) -> None:
    dicom(tmp_path / "dicom" / "a.dcm", 1, PatientID="P1", AccessionNumber="A1")
    reports = tmp_path / "reports"
    reports.mkdir()
    (reports / "A1.txt").write_text("A report of a sensible length.")
    (reports / "A2.txt").write_bytes(b"word " * (LONG // 5))
    (reports / "A3.txt").write_bytes(b"\0" * 100)
    (reports / "bulk.ndjson").write_bytes(
        b'{"resourceType": "DiagnosticReport", "id": "1", "conclusion": "' + b"word " * (LONG // 5) + b'"}\n'
        b'{"resourceType": \n' + b"[" * 100_000 + b"\n\xff\xfe\n"
    )
    account = build(tmp_path / "dicom", tmp_path / "store", reports)
    assert account.reports.paired == 1
    assert account.reports.refused == {
        "malformed_report": 1,
        "not_text": 1,
        "not_utf8": 1,
        "too_deep": 1,
        "too_long": 2,
    }


def test_the_same_place_in_two_report_folders_is_two_places(in_this_process: None, tmp_path: Path) -> None:
    dicom(tmp_path / "dicom" / "a.dcm", 1)
    paths = []
    for ward in ("east", "west"):
        (tmp_path / ward).mkdir()
        row = {"patient_id": "P9", "report": f"No accession number in the {ward}."}
        paths.append(write_reports(tmp_path / ward / "reports.csv", [row, {"report": ""}]))
    account = build(tmp_path / "dicom", tmp_path / "store", *paths)
    assert account.reports.without_image == 2
    refused = pq.read_table(tmp_path / "store" / REJECTED).column("file").to_pylist()
    assert refused == ["east/reports.csv:3", "west/reports.csv:3"]
    assert len(set(Store(tmp_path / "store").column("study"))) == 3
    with pytest.raises(FederationError, match="given before"):
        build(tmp_path / "dicom", tmp_path / "store", paths[0], tmp_path / "east")
