"""Reports that wait on disc: what became of each, and nothing that anyone else could open."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from faulty_readers import read
from ingest_samples import write_reports
from shelved import new_shelf, open_reports, shelf_of

from client.ingest.deidentify import Identifiers
from client.ingest.rejected import Reason, Refusal
from client.ingest.reports import Report, Shelf
from client.ingest.reports.reading import LARGE_BYTES, read_each
from client.ingest.reports.report import PIECE_ENTRIES, Copies, Entry, Found, ImageRecord, ReportFile
from client.ingest.scratch import Scratch
from common.errors import ConfigurationError


def report(number: int, **more: object) -> Report:
    return Report(f"r.csv:{number}", f"A{number}", "P1", (), "Clear.", **more)  # type: ignore[arg-type]


def test_a_report_comes_back_as_it_was() -> None:
    whole = Report(
        *("r:1", "A1", "P1", ("1.2", "1.3"), "Text \ud800\nGröße"),
        *(("A2",), ("9.9",), ("a.png",), "2020-01-02", "de", {"findings": "a", "impression": "b"}),
        Identifiers(names=("Long^Mary",), birth_dates=("19500102",), institutions=("Hollow Clinic",)),
    )
    shelf = shelf_of([whole, report(2)])
    assert [one for _, one in shelf.reports()] == [whole, report(2)]


def test_pieces_are_passed_on_before_they_grow_and_nothing_is_lost() -> None:
    pieces: list[Found] = []
    found = Found(pass_on=pieces.append)
    for number in range(3 * PIECE_ENTRIES):
        found.add(report(number))
        found.name_image(ImageRecord("r.csv:1", f"{number}.png", "P1", ""))
    found.pass_on_rest()
    assert max(len(piece.entries) + len(piece.images) for piece in pieces) <= PIECE_ENTRIES
    shelf = new_shelf()
    for piece in pieces:
        shelf.take(piece)
    assert [one.accession for _, one in shelf.reports()] == [f"A{n}" for n in range(3 * PIECE_ENTRIES)]
    assert len(list(shelf.image_records())) == 3 * PIECE_ENTRIES


def test_of_the_versions_of_a_report_the_last_counts_whatever_became_of_it() -> None:
    shelf = new_shelf()
    entries = [
        Entry(report(1), Copies("a", "2020")),
        Entry(Refusal("r.csv:2", Reason.WITHDRAWN), Copies("a", "2021")),
        Entry(report(3), Copies("b", "2021")),
        Entry(report(4), Copies("b", "2021")),
        Entry(report(5), Copies("b", "2020")),
    ]
    for entry in entries:
        shelf.take(Found([entry]))
    shelf.settle()
    assert [one.place for _, one in shelf.reports()] == ["r.csv:4"]
    reasons = {one.place: one.reason for one in shelf.refusals()}
    assert reasons.pop("r.csv:2") is Reason.WITHDRAWN
    assert reasons == dict.fromkeys(("r.csv:1", "r.csv:3", "r.csv:5"), Reason.SUPERSEDED)


def test_rows_that_repeat_a_report_are_one_with_the_files_of_all() -> None:
    shelf = new_shelf()
    entries = [Entry(report(n, file_names=(f"{n}.png",)), Copies("a", repeated=True)) for n in (1, 2, 3)]
    shelf.take(Found(entries))
    shelf.settle()
    ((_, one),) = shelf.reports()
    assert (one.place, one.file_names) == ("r.csv:1", ("1.png", "2.png", "3.png"))
    assert list(shelf.refusals()) == []


def test_versions_far_apart_in_a_long_export_still_know_of_each_other(tmp_path: Path) -> None:
    lines = [
        {"resourceType": "DiagnosticReport", "id": str(number % 900), "conclusion": f"Text {number}."}
        for number in range(1000)
    ]
    path = tmp_path / "r.ndjson"
    path.write_text("\n".join(map(json.dumps, lines)))
    for workers in (0, 1):
        found = open_reports(path, workers=workers)
        assert len(found.reports) == 900
        assert {one.place for one in found.refusals} == {f"r.ndjson:{line}" for line in range(1, 101)}


def dies_at_last(files: Sequence[ReportFile], found: Found) -> None:
    for file in files:
        for number in range(2 * PIECE_ENTRIES):
            found.add(report(number))
        if file.path.name.startswith("segfault"):
            read(Path("segfault"))


def test_a_large_file_on_which_its_reader_dies_late_leaves_nothing_on_the_shelf(tmp_path: Path) -> None:
    for name in ("a", "segfault", "b"):
        (tmp_path / name).write_bytes(bytes(LARGE_BYTES + 1))
    shelf = new_shelf()
    files = [ReportFile(tmp_path / name, name) for name in ("a", "segfault", "b")]
    read_each(files, dies_at_last, shelf, folder=tmp_path, workers=2)
    assert shelf.num_reports() == 4 * PIECE_ENTRIES
    assert list(shelf.refusals()) == [Refusal("segfault", Reason.DECODER_CRASHED)]


def test_a_large_table_is_read_in_pieces_as_a_small_one_is_whole(tmp_path: Path) -> None:
    rows = [{"accession_number": f"A{number}", "report": "Clear. " * 40} for number in range(6000)]
    path = write_reports(tmp_path / "reports.csv", rows)
    assert path.stat().st_size > LARGE_BYTES
    assert open_reports(path, workers=1) == open_reports(path)


def test_nobody_finds_a_file_while_reports_wait(tmp_path: Path) -> None:
    shelf = Shelf(Scratch(tmp_path))
    shelf.take(Found([Entry(report(number)) for number in range(10_000)]))
    assert list(tmp_path.iterdir()) == []
    shelf.close()


def test_a_full_disk_is_said_in_one_line(tmp_path: Path) -> None:
    shelf = Shelf(Scratch(tmp_path))
    shelf.scratch.run("PRAGMA max_page_count = 40")
    with pytest.raises(ConfigurationError, match=r"the disk of .* is full: .* make room"):
        shelf.take(Found([Entry(report(number)) for number in range(10_000)]))


def test_a_folder_that_cannot_be_written_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="give a --store you may write to"):
        Scratch(tmp_path / "absent")
