"""Which format a file of reports has, and all reports under a path whatever their formats."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from os.path import relpath
from pathlib import Path
from typing import Literal

from client.ingest.images.listing import scan
from client.ingest.rejected import Reason, Refusal
from client.ingest.reports.chexpert import is_chexpert, read_chexpert
from client.ingest.reports.fhir import is_fhir, read_fhir
from client.ingest.reports.mimic import is_mimic, read_mimic
from client.ingest.reports.openi import is_openi, read_openi
from client.ingest.reports.padchest import is_padchest, read_padchest
from client.ingest.reports.plain import is_plain, read_plain
from client.ingest.reports.reading import Read, read_each, read_together
from client.ingest.reports.report import Entry, Found, ReportFile
from client.ingest.reports.roco import is_roco, read_roco
from client.ingest.reports.shelf import Mark, Shelf
from client.ingest.reports.structured import is_structured, read_structured
from client.ingest.reports.tables import COLUMNS, is_table, read_tables, refusal_error
from common.errors import ConfigurationError, FederationError, InputRefusedError

AUTO = "auto"
START_BYTES = 4096
"""Of a file, by which its format is recognised."""


@dataclass(frozen=True)
class Format:
    """How to know a format, and how to read all files of it together."""

    name: str
    holds: Callable[[Path, bytes], bool]
    """Whether a file with this path, which begins with these bytes, is of the format."""
    read: Read
    together: bool = False
    """Its files refer to one another."""


READERS = (
    Format("mimic", is_mimic, read_mimic, together=True),
    Format("chexpert", is_chexpert, read_chexpert),
    Format("padchest", is_padchest, read_padchest),
    Format("roco", is_roco, read_roco, together=True),
    Format("openi", is_openi, read_openi),
    Format("sr", is_structured, read_structured, together=True),
    Format("fhir", is_fhir, read_fhir, together=True),
    Format("txt", is_plain, read_plain),
)
"""In the order of their claims: the published layouts before the general formats that they use."""
CSV = "csv"
FORMATS = (AUTO, CSV, *(reader.name for reader in reversed(READERS)))
"""What `--format` may name."""


@dataclass(frozen=True)
class Opened:
    """What was found under a path; the reports themselves are on the shelf."""

    files: frozenset[Path]
    """Resolved paths of what was taken for reports or tables, read or refused; none of it is an image."""
    num_reports_by_format: dict[str, int]
    trouble: FederationError | None = field(default=None, compare=False)
    """What to tell where there should have been reports, and none can be used; a table may be empty."""


def open_reports(
    path: Path,
    shelf: Shelf,
    columns: Mapping[str, str] | None = None,
    *,
    format_name: str = AUTO,
    images: Path | None = None,
    prefix: str = "",
    workers: int = 0,
) -> Opened:
    """Put every report under `path` on the shelf, in byte order of the files' paths for each format.

    A file that cannot be read costs itself: one refusal with its reason.

    Args:
        path: a file, or a folder of files; a folder may hold several formats.
        shelf: takes the reports, the refusals and what tables say of image files.
        columns: for CSV: our column -> theirs; see `parse_column_map`.
        format_name: one of `FORMATS`; `auto` recognises each file by name and content.
        images: the folder of images: what lies there and is no report is left to the image reader, while
            elsewhere it is refused as `NOT_A_REPORT`.
        prefix: put before the places of what is found.
        workers: confined processes that parse the files; 0 parses them in this one.

    Raises:
        ConfigurationError: no such path or format, or tables of MIMIC-CXR that are still compressed.
    """
    if format_name not in FORMATS:
        raise ConfigurationError(f"--format {format_name}: choose from {', '.join(FORMATS)}")
    files, refusals = _files(path, images)
    readers = (*READERS, Format(CSV, is_table, partial(read_tables, columns=dict(columns or _OURS))))
    claimed: dict[str, list[ReportFile]] = {reader.name: [] for reader in readers}
    for file in files:
        name = _recognised(file.path, readers, format_name, alone=path.is_file())
        if not isinstance(name, Reason):
            claimed[name].append(file)
        elif not _is_under(file.path, images):
            refusals.append(Refusal(file.place, name))
    before, counts = shelf.mark, dict[str, int]()
    shelf.take(Found([Entry(refusal) for refusal in refusals]), prefix)
    for reader in readers:
        if several := claimed[reader.name]:
            mark = shelf.mark
            read = read_together if reader.together else read_each
            read(several, reader.read, shelf, folder=_folder(path), prefix=prefix, workers=workers)
            shelf.settle()
            counts[reader.name] = shelf.num_reports(mark)
    if shelf.mistake:
        raise ConfigurationError(shelf.mistake)
    return Opened(
        frozenset(file.path.resolve() for several in claimed.values() for file in several),
        counts,
        _trouble(
            path,
            format_name,
            shelf,
            before,
            claimed=any(claimed.values()),
            among_images=_is_under(path, images),
        ),
    )


def _trouble(
    path: Path, format_name: str, shelf: Shelf, before: Mark, *, claimed: bool, among_images: bool
) -> FederationError | None:
    if shelf.holds_any(before) or (among_images and not claimed):
        return None
    if not claimed:
        return InputRefusedError(
            f"{path} holds no report of format {format_name}; give the folder or file of reports as --reports"
        )
    reasons: Counter[str] = Counter()
    for refusal in shelf.refusals(before):
        if refusal.detail:
            return refusal_error(refusal.reason, refusal.detail)
        reasons[refusal.reason.value] += 1
    if not reasons:
        return None
    listed = ", ".join(f"{reason} {count:,}" for reason, count in sorted(reasons.items()))
    return InputRefusedError(
        f"{path}: not one report can be used ({listed}); mend it or give other --reports"
    )


_OURS = {column: column for column in COLUMNS}


def _files(path: Path, images: Path | None) -> tuple[list[ReportFile], list[Refusal]]:
    if path.is_dir():
        files, refusals = scan(_folder(path))
        kept = [one for one in refusals if not _is_under(path / one.place, images)]
        return [ReportFile(file, relpath(file, _folder(path))) for file in files], kept
    if not path.is_file():
        trouble = "neither a file nor a folder" if path.exists() else "No such file or directory"
        raise ConfigurationError(f"{path}: {trouble}; give a file or folder of reports as --reports")
    return [ReportFile(path.absolute(), path.name)], []


def _folder(path: Path) -> Path:
    """The folder in which the places of `path` are; absolute, for workers may stand elsewhere."""
    return path.absolute() if path.is_dir() else path.absolute().parent


def _is_under(path: Path, folder: Path | None) -> bool:
    return folder is not None and path.absolute().is_relative_to(folder.absolute())


def _recognised(
    path: Path, readers: Sequence[Format], format_name: str, *, alone: bool
) -> str | Literal[Reason.UNREADABLE, Reason.NOT_A_REPORT]:
    """The format of a file; what it was said to be if that fits, or if it is the only file."""
    try:
        with path.open("rb") as file:
            start = file.read(START_BYTES)
    except OSError as error:
        if alone:
            raise ConfigurationError(f"{path}: {error.strerror}; give a file you may read") from None
        return Reason.UNREADABLE
    wanted = [reader for reader in readers if format_name in (AUTO, reader.name)]
    name = next((reader.name for reader in wanted if reader.holds(path, start)), None)
    if name is None and alone:
        # One file that nothing recognises is read as what it was said to be, or as a table.
        return CSV if format_name == AUTO else format_name
    return name or Reason.NOT_A_REPORT
