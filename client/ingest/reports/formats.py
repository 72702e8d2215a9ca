"""Which format a file of reports has, and all reports under a path whatever their formats."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from os.path import relpath
from pathlib import Path

from client.ingest.images.listing import scan
from client.ingest.rejected import Reason, Refusal
from client.ingest.reports.chexpert import is_chexpert, read_chexpert
from client.ingest.reports.fhir import is_fhir, read_fhir
from client.ingest.reports.mimic import is_mimic, read_mimic
from client.ingest.reports.openi import is_openi, read_openi
from client.ingest.reports.padchest import is_padchest, read_padchest
from client.ingest.reports.plain import is_plain, read_plain
from client.ingest.reports.report import Found, ImageRecord, Report, ReportFile
from client.ingest.reports.roco import is_roco, read_roco
from client.ingest.reports.structured import is_structured, read_structured
from client.ingest.reports.tables import COLUMNS, is_table, read_tables
from common.errors import ConfigurationError, InputRefusedError

AUTO = "auto"
START_BYTES = 4096
"""Of a file, by which its format is recognised."""


@dataclass(frozen=True)
class Format:
    """How to know a format, and how to read all files of it together."""

    name: str
    holds: Callable[[Path, bytes], bool]
    """Whether a file with this path, which begins with these bytes, is of the format."""
    read: Callable[[Sequence[ReportFile]], Found]


READERS = (
    Format("mimic", is_mimic, read_mimic),
    Format("chexpert", is_chexpert, read_chexpert),
    Format("padchest", is_padchest, read_padchest),
    Format("roco", is_roco, read_roco),
    Format("openi", is_openi, read_openi),
    Format("sr", is_structured, read_structured),
    Format("fhir", is_fhir, read_fhir),
    Format("txt", is_plain, read_plain),
)
"""In the order of their claims: the published layouts before the general formats that they use."""
CSV = "csv"
FORMATS = (AUTO, CSV, *(reader.name for reader in reversed(READERS)))
"""What `--format` may name."""


@dataclass(frozen=True)
class Opened:
    """All that was under a path."""

    reports: tuple[Report, ...]
    refusals: tuple[Refusal, ...]
    images: tuple[ImageRecord, ...]
    """What tables say of image files whose headers may say nothing."""
    files: frozenset[Path]
    """Resolved paths of what was taken for reports or tables, read or refused; none of it is an image."""
    num_reports_by_format: dict[str, int]


def open_reports(
    path: Path,
    columns: Mapping[str, str] | None = None,
    *,
    format_name: str = AUTO,
    images: Path | None = None,
) -> Opened:
    """Read every report under `path`, in byte order of the files' paths for each format.

    Args:
        path: a file, or a folder of files; a folder may hold several formats.
        columns: for CSV: our column -> theirs; see `parse_column_map`.
        format_name: one of `FORMATS`; `auto` recognises each file by name and content.
        images: the folder of images: what lies there and is no report is left to the image reader, while
            elsewhere it is refused as `NOT_A_REPORT`.

    Raises:
        ConfigurationError: no such path or format, or a table lacks a column.
        InputRefusedError: a file cannot be read at all, or there is no report of the format.
    """
    if format_name not in FORMATS:
        raise ConfigurationError(f"--format {format_name}: choose from {', '.join(FORMATS)}")
    files, refusals = _files(path, images)
    readers = (*READERS, Format(CSV, is_table, partial(read_tables, columns=columns or _OURS)))
    claimed: dict[str, list[ReportFile]] = {reader.name: [] for reader in readers}
    for file in files:
        name = _recognised(file.path, readers, format_name, alone=path.is_file())
        if name:
            claimed[name].append(file)
        elif not _is_under(file.path, images):
            refusals.append(Refusal(file.place, Reason.NOT_A_REPORT))
    if not any(claimed.values()) and not _is_under(path, images):
        raise InputRefusedError(
            f"{path} holds no report of format {format_name}; give the folder or file of reports as --reports"
        )
    return _read(readers, claimed, refusals)


_OURS = {column: column for column in COLUMNS}


def _files(path: Path, images: Path | None) -> tuple[list[ReportFile], list[Refusal]]:
    if path.is_dir():
        files, refusals = scan(path)
        kept = [one for one in refusals if not _is_under(path / one.place, images)]
        return [ReportFile(file, relpath(file, path)) for file in files], kept
    if not path.is_file():
        trouble = "neither a file nor a folder" if path.exists() else "No such file or directory"
        raise ConfigurationError(f"{path}: {trouble}; give a file or folder of reports as --reports")
    return [ReportFile(path, path.name)], []


def _is_under(path: Path, folder: Path | None) -> bool:
    return folder is not None and path.absolute().is_relative_to(folder.absolute())


def _recognised(path: Path, readers: Sequence[Format], format_name: str, *, alone: bool) -> str | None:
    """The format of a file; what it was said to be if that fits, or if it is the only file."""
    try:
        with path.open("rb") as file:
            start = file.read(START_BYTES)
    except OSError as error:
        if alone:
            raise ConfigurationError(f"{path}: {error.strerror}; give a file you may read") from None
        return None
    wanted = [reader for reader in readers if format_name in (AUTO, reader.name)]
    name = next((reader.name for reader in wanted if reader.holds(path, start)), None)
    if name is None and alone:
        # One file that nothing recognises is read as what it was said to be, or as a table.
        return CSV if format_name == AUTO else format_name
    return name


def _read(
    readers: Sequence[Format], claimed: Mapping[str, Sequence[ReportFile]], refusals: list[Refusal]
) -> Opened:
    found, counts = Found(refusals=refusals), {}
    for reader in readers:
        if claimed[reader.name]:
            read = reader.read(claimed[reader.name])
            counts[reader.name] = len(read.reports)
            found.extend(read)
    files = frozenset(file.path.resolve() for several in claimed.values() for file in several)
    return Opened(tuple(found.reports), tuple(found.refusals), tuple(found.images), files, counts)
