import codecs
import shutil
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shelved import open_reports

from client.ingest.rejected import Reason, Refusal
from client.ingest.reports.encodings import decode_text
from client.ingest.reports.report import in_sections, iso_date, uid_in, written
from common.text.sections import parse_sections

no_deadline = settings(deadline=None)
"""A loaded machine makes no test fail."""

FIXTURES = Path(__file__).parent / "report_fixtures"
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-32")
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufeff"))
latin = st.text(st.characters(codec="cp1252", exclude_categories=["Cc"]))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "reports").mkdir()
    return tmp_path / "reports"


def test_a_folder_of_text_files_in_three_encodings(folder: Path) -> None:
    shutil.copytree(FIXTURES / "txt", folder, dirs_exist_ok=True)
    (folder / "ACC2.txt").write_bytes("BEFUND: Erfundene Größe.".encode("cp1252"))
    (folder / "ACC3.TXT").write_bytes("BEFUND: Erfundene Größe.".encode("utf-16"))
    opened = open_reports(folder)
    assert opened.num_reports_by_format == {"txt": 3}
    assert [(one.accession, one.parts()["findings"]) for one in opened.reports] == [
        ("ACC1", "Erfundene Größe."),
        ("ACC2", "Erfundene Größe."),
        ("ACC3", "Erfundene Größe."),
    ]
    assert set(opened.refusals) == {
        Refusal("ACC4.txt", Reason.EMPTY_REPORT),
        Refusal("notes.doc", Reason.NOT_A_REPORT),
    }


@no_deadline
@given(texts, st.sampled_from(ENCODINGS))
def test_a_text_comes_back_from_every_marked_encoding(text: str, encoding: str) -> None:
    assert decode_text(text.encode(encoding)) == text


@no_deadline
@given(latin)
def test_windows_1252_comes_back_unless_it_could_be_utf_8(text: str) -> None:
    content = text.encode("cp1252")
    try:
        expected = content.decode("utf-8")
    except UnicodeDecodeError:
        expected = text
    assert decode_text(content) == expected


@no_deadline
@given(st.lists(st.tuples(latin.map(lambda text: f"ä {text}"), st.booleans())))
def test_a_file_put_together_from_two_systems_loses_no_letter(lines: list[tuple[str, bool]]) -> None:
    content = b"".join(f"{text}\n".encode("utf-8" if utf8 else "cp1252") for text, utf8 in lines)
    assert decode_text(content) == "".join(f"{text}\n" for text, _ in lines)


@no_deadline
@given(st.binary())
def test_any_bytes_are_text_or_refused(content: bytes) -> None:
    text = decode_text(content)
    assert text is None or isinstance(text, str)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", Reason.EMPTY_REPORT),
        (b" \r\n\t", Reason.EMPTY_REPORT),
        (b"PK\x03\x04\0\0\0", Reason.NOT_TEXT),
        (codecs.BOM_UTF16_LE + b"odd", Reason.NOT_TEXT),
        (b"x" * 50_000_000, Reason.TOO_LONG),
    ],
)
def test_what_is_no_report_has_one_reason(folder: Path, content: bytes, reason: Reason) -> None:
    (folder / "A1.txt").write_bytes(content)
    opened = open_reports(folder)
    assert (opened.reports, opened.refusals) == ((), (Refusal("A1.txt", reason),))


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("20170211", "2017-02-11"),
        ("2017-02-11T10:00:00Z", "2017-02-11"),
        ("2017/02/11", "2017-02-11"),
        ("2017-02", "2017-02"),
        ("2017", "2017"),
        ("20170231", ""),
        ("11.02.2017", ""),
        ("201702111", ""),
        ("", ""),
    ],
)
def test_a_date_is_iso_8601_or_nothing(text: str, date: str) -> None:
    assert iso_date(text) == date


def test_a_uid_is_a_uid_with_or_without_its_scheme() -> None:
    assert [uid_in(text) for text in ("urn:oid:1.2.3", " 1.2.3 ", "12", "1..2", "a", "1." + "2" * 63)] == [
        *("1.2.3", "1.2.3"),
        *("", "", "", ""),
    ]


parts = st.lists(
    st.tuples(
        st.sampled_from(["findings", "impression", "technique"]),
        st.sampled_from(["Clear.", "Heart\nnormal.", "FINDINGS: Old.", "Chest.\nIMPRESSION: Normal."]),
    ),
    min_size=1,
)


@no_deadline
@given(parts)
def test_sections_lose_no_word_and_are_read_back_from_their_text(pairs: list[tuple[str, str]]) -> None:
    sections = in_sections(pairs)
    words = Counter(word for _, text in pairs for word in text.split() if not word.endswith(":"))
    assert Counter(word for text in sections.values() for word in text.split()) == words
    assert parse_sections(written(sections)) == sections
