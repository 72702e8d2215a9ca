from pathlib import Path

import pytest
from ingest_samples import write_reports
from shelved import open_reports

from client.ingest.rejected import Reason, Refusal
from client.ingest.reports import Report, parse_column_map, read_rows
from common.errors import ConfigurationError, InputRefusedError

PLAIN = parse_column_map([])
HEADER = "accession_number,patient_id,study_date,sop_instance_uids,report\n"


def read_reports(path: Path, columns: dict[str, str]) -> tuple[list[Report], list[Refusal]]:
    opened = open_reports(path, columns, format_name="csv")
    return list(opened.reports), list(opened.refusals)


def table(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "reports.csv"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_byte_order_mark_makes_no_difference(tmp_path: Path, encoding: str) -> None:
    (report,), refused = read_reports(table(tmp_path, HEADER + "A1,P1,,1.2,Größe 2 cm", encoding), PLAIN)
    assert (report.accession, report.patient_id, report.instance_uids) == ("A1", "P1", ("1.2",))
    assert (report.text, refused) == ("Größe 2 cm", [])


def test_a_report_keeps_its_lines_and_quotes_whatever_its_length(tmp_path: Path) -> None:
    text = 'Line one, "quoted"\nline two\r\n' + "x" * 300_000
    path = write_reports(tmp_path / "reports.csv", [{"accession_number": "A1", "report": text}])
    (report,), _ = read_reports(path, PLAIN)
    assert report.text == text


@pytest.mark.parametrize("separator", [" ", "; ", ",", "\\", "|"])
def test_instances_may_be_separated_in_any_usual_way(tmp_path: Path, separator: str) -> None:
    row = {"sop_instance_uids": f"1.2{separator}1.3{separator}1.2", "report": "x"}
    (report,), _ = read_reports(write_reports(tmp_path / "reports.csv", [row]), PLAIN)
    assert report.instance_uids == ("1.2", "1.3")


def test_a_refused_row_is_named_by_file_and_line(tmp_path: Path) -> None:
    rows = 'A1,P1,,,"two\nlines"\nA2,P2,,,  \nA3,P3\nA4,P4,,,unquoted, comma\nA5,P5,,,fine,,\n'
    reports, refused = read_reports(table(tmp_path, HEADER + rows), PLAIN)
    assert [report.accession for report in reports] == ["A1", "A5"]
    assert refused == [
        Refusal("reports.csv:4", Reason.EMPTY_REPORT),
        Refusal("reports.csv:5", Reason.MALFORMED_ROW),
        Refusal("reports.csv:6", Reason.MALFORMED_ROW),
    ]


def test_columns_may_have_other_names_or_be_absent(tmp_path: Path) -> None:
    columns = parse_column_map(["report=befund", "accession_number=Auftrag", "sop_instance_uids="])
    path = table(tmp_path, "Auftrag;ignored,befund,patient_id,Auftrag\nx,text,P1,A1\n")
    (report,), _ = read_reports(path, columns)
    assert (report.accession, report.text, report.instance_uids) == ("A1", "text", ())


@pytest.mark.parametrize("entry", ["report", "=x", "nonsense=x", "report="])
def test_a_map_that_means_nothing_is_refused(entry: str) -> None:
    with pytest.raises(ConfigurationError, match="--map"):
        parse_column_map([entry])


@pytest.mark.parametrize(
    ("content", "error", "reason", "words"),
    [
        (
            b"",
            ConfigurationError,
            Reason.MISSING_COLUMN,
            "no column 'accession_number', only an empty header",
        ),
        (b"accession_number,report\n", ConfigurationError, Reason.MISSING_COLUMN, "no column 'patient_id'"),
        (
            HEADER.replace("study_date", "report").encode(),
            *(ConfigurationError, Reason.MISSING_COLUMN, "more than one column 'report'"),
        ),
        (
            HEADER.encode() + b'A1,P1,,,fine\nA2,P2,,,"never closed\nA3,P3,,,lost\n',
            *(InputRefusedError, Reason.MALFORMED_TABLE, "after line 2 is no CSV"),
        ),
        (
            (HEADER + "A1,P1,,,Größe\nA2,P2,,,fine\n").encode("latin-1"),
            *(InputRefusedError, Reason.NOT_UTF8, "not UTF-8 after line 1; convert it"),
        ),
        (HEADER.encode("utf-16-le"), InputRefusedError, Reason.NOT_TEXT, "no text; export it as UTF-8"),
        (
            (HEADER + "A1,P1,,,fine\n").encode("utf-16") + b"\x00",
            *(InputRefusedError, Reason.NOT_TEXT, "not the UTF-16"),
        ),
    ],
)
def test_an_unusable_table_is_one_refusal_and_one_line(
    tmp_path: Path, content: bytes, error: type[Exception], reason: Reason, words: str
) -> None:
    path = table(tmp_path, "")
    path.write_bytes(content)
    opened = open_reports(path, PLAIN)
    assert (opened.reports, opened.refusals) == ((), (Refusal("reports.csv", reason),))
    assert isinstance(opened.trouble, error)
    with pytest.raises(error) as refusal:
        list(read_rows(path, PLAIN))
    assert words in str(refusal.value)
    assert str(opened.trouble) == str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_utf_16_is_read_by_its_mark(tmp_path: Path) -> None:
    (report,), refused = read_reports(table(tmp_path, HEADER + "A1,P1,,,Größe\n", "utf-16"), PLAIN)
    assert (report.text, refused) == ("Größe", [])


def test_of_two_encodings_in_one_file_the_rows_that_are_not_utf_8_are_refused(tmp_path: Path) -> None:
    path = table(tmp_path, HEADER + "A1,P1,,,Größe\nA2,P2,,,fine\n")
    path.write_bytes(path.read_bytes() + "A3,P3,,,Größe\n".encode("latin-1"))
    reports, refused = read_reports(path, PLAIN)
    assert [report.accession for report in reports] == ["A1", "A2"]
    assert refused == [Refusal("reports.csv:4", Reason.NOT_UTF8)]


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_the_delimiter_of_the_header_counts(tmp_path: Path, delimiter: str) -> None:
    path = table(tmp_path, HEADER.replace(",", delimiter) + delimiter.join(["A1", "P1", "", "", "a, b"]))
    (report,), _ = read_reports(path, PLAIN)
    assert (report.accession, report.text) == ("A1", "a, b")


def test_further_columns_are_read_where_they_are_and_may_be_mapped(tmp_path: Path) -> None:
    columns = parse_column_map(["file_names=Bilder", "sop_instance_uids=", "study_date=Datum"])
    path = table(
        tmp_path,
        "accession_number,patient_id,report,study_instance_uid,Datum,Bilder,language\n"
        'A1,P1,text,1.2.3,20170211,"a.png; b c.png",de\nA2,P2,text,none,soon,,"?"\n',
    )
    first, second = read_reports(path, columns)[0]
    assert (first.study_uids, first.date, first.file_names) == (
        ("1.2.3",),
        "2017-02-11",
        ("a.png", "b c.png"),
    )
    assert (first.language, second.study_uids, second.date, second.language) == ("de", (), "", "")


def test_a_report_beyond_all_measure_costs_only_itself(tmp_path: Path) -> None:
    rows = [{"accession_number": "A1", "report": "x" * 50_000_000}, {"accession_number": "A2", "report": "y"}]
    reports, refused = read_reports(write_reports(tmp_path / "reports.csv", rows), PLAIN)
    assert [report.accession for report in reports] == ["A2"]
    assert refused == [Refusal("reports.csv:2", Reason.TOO_LONG)]


def test_accents_are_composed_and_control_characters_become_blanks(tmp_path: Path) -> None:
    (report,), _ = read_reports(table(tmp_path, HEADER + "A1,P1,,,Gro\u0308ße\x00\x0c2 cm\n"), PLAIN)
    assert report.text == "Größe  2 cm"


def test_a_file_that_is_not_there_is_a_mistake_of_the_command(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        read_reports(tmp_path / "absent.csv", PLAIN)
