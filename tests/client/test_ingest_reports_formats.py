import os
import shutil
from pathlib import Path

import pytest
from shelved import open_reports

from client.ingest.rejected import Reason, Refusal
from client.ingest.reports import FORMATS, parse_column_map
from common.errors import ConfigurationError, InputRefusedError

FIXTURES = Path(__file__).parent / "report_fixtures"
HEADER = "accession_number,patient_id,sop_instance_uids,report\n"


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        *[
            ("mimic", "mimic"),
            ("chexpert", "chexpert"),
            ("chexpert_plus", "chexpert"),
            ("padchest", "padchest"),
        ],
        *[("openi", "openi"), ("roco", "roco"), ("roco_table", "roco"), ("rocov2", "roco")],
        *[("fhir", "fhir"), ("txt", "txt")],
    ],
)
def test_every_format_is_recognised_by_its_content_and_read_alike_when_named(folder: str, name: str) -> None:
    recognised = open_reports(FIXTURES / folder)
    assert list(recognised.num_reports_by_format) == [name]
    assert open_reports(FIXTURES / folder, format_name=name) == recognised


def test_a_folder_may_hold_several_formats_and_each_file_ends_in_one_place(tmp_path: Path) -> None:
    for folder in FIXTURES.iterdir():
        shutil.copytree(folder, tmp_path / folder.name)
    (tmp_path / "reports.csv").write_text(HEADER + "A1,P1,,text\n")
    opened = open_reports(tmp_path)
    assert list(opened.num_reports_by_format) == [
        *("mimic", "chexpert", "padchest", "roco", "openi", "fhir", "txt", "csv")
    ]
    files = {path.resolve() for path in tmp_path.rglob("*") if path.is_file()}
    refused = {(tmp_path / refusal.place).resolve() for refusal in opened.refusals}
    assert opened.files <= files <= opened.files | refused


def test_a_named_format_leaves_the_others_out() -> None:
    opened = open_reports(FIXTURES, format_name="txt")
    assert opened.num_reports_by_format["txt"] > 3
    assert Refusal("fhir/bundle_r4.json", Reason.NOT_A_REPORT) in opened.refusals


def test_one_file_is_read_as_what_it_was_said_to_be(tmp_path: Path) -> None:
    path = tmp_path / "export.dat"
    path.write_text("A report.")
    (report,) = open_reports(path, format_name="txt").reports
    assert (report.accession, report.text) == ("export", "A report.")
    trouble = open_reports(path).trouble
    assert isinstance(trouble, ConfigurationError)
    assert "export.dat has no column 'accession_number'" in str(trouble)


def test_a_table_takes_its_columns_from_the_map(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("Auftrag;Befund\nA1;Klar.\n")
    columns = parse_column_map(
        ["accession_number=Auftrag", "report=Befund", "patient_id=", "sop_instance_uids="]
    )
    (report,) = open_reports(tmp_path, columns).reports
    assert (report.accession, report.text, report.place) == ("A1", "Klar.", "r.csv:2")


def test_what_lies_among_the_images_and_is_no_report_is_left_to_the_image_reader(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"\x89PNG")
    (tmp_path / "images" / "loop").symlink_to(tmp_path)
    (tmp_path / "A1.txt").write_text("A report.")
    (tmp_path / "b.png").write_bytes(b"\x89PNG")
    opened = open_reports(tmp_path, images=tmp_path / "images")
    assert opened.refusals == (Refusal("b.png", Reason.NOT_A_REPORT),)
    assert opened.files == {(tmp_path / "A1.txt").resolve()}


def test_hostile_names_and_loops_cost_only_themselves(tmp_path: Path) -> None:
    (tmp_path / "up").symlink_to(tmp_path)
    (tmp_path / "self.txt").symlink_to(tmp_path / "self.txt")
    os.mkfifo(tmp_path / "pipe.txt")
    for name in ("..txt", "-rf.txt", "a\nb.txt", "$(x).txt", "größe.txt", " .txt", "x" * 240 + ".txt"):
        (tmp_path / name).write_text("A report.")
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/odd\xff.txt"))).write_text("A report.")
    opened = open_reports(tmp_path)
    assert len(opened.reports) == 8
    assert {refusal.place: refusal.reason for refusal in opened.refusals} == {
        "up": Reason.LINKED_FOLDER,
        "self.txt": Reason.UNREADABLE,
        "pipe.txt": Reason.NOT_A_FILE,
    }


def test_the_order_of_reports_is_that_of_their_paths(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt", "B.txt", "c/a.txt", "a/z.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    assert [report.text for report in open_reports(tmp_path).reports] == [
        *("B.txt", "a.txt", "a/z.txt", "b.txt", "c/a.txt")
    ]


def test_the_mistakes_of_a_command_are_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        open_reports(tmp_path / "absent")
    with pytest.raises(ConfigurationError, match="--format word: choose from auto, csv, txt, fhir, sr, "):
        open_reports(tmp_path, format_name="word")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigurationError, match="neither a file nor a folder"):
        open_reports(tmp_path / "pipe")
    trouble = open_reports(tmp_path, format_name="sr").trouble
    assert isinstance(trouble, InputRefusedError)
    assert "holds no report of format sr" in str(trouble)
    among_images = open_reports(tmp_path, images=tmp_path)
    assert (among_images.reports, among_images.trouble) == ((), None)


def test_the_formats_that_a_command_offers() -> None:
    assert FORMATS == ("auto", "csv", "txt", "fhir", "sr", "openi", "roco", "padchest", "chexpert", "mimic")
