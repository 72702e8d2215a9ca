"""The image files of a hospital, each read once, and which of them enter the store."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from client.ingest.identity import Identity, identified
from client.ingest.images import Header, Patient, read_images
from client.ingest.journal import Journal, Outcome, Read, stamp_of
from client.ingest.rejected import Reason, Refusal
from client.ingest.workers import read_all
from common.imaging.preparation import Preparation


@dataclass
class Archive:
    """What enters the store, in byte order of the files' paths, and what does not."""

    paths: list[str] = field(default_factory=list)
    """Relative to the folder."""
    images: list[Header] = field(default_factory=list)
    """Whom the files show; each instance once."""
    reads: list[Read] = field(default_factory=list)
    """Where their frames lie."""
    refused: list[Refusal] = field(default_factory=list)


def read_files(
    folder: Path,
    files: Sequence[Path],
    journal: Journal,
    preparation: Preparation,
    *,
    workers: int,
    after_file: Callable[[bool], None],
) -> list[tuple[str, Outcome]]:
    """What came of each file, by its path in `folder`; only those that the journal does not know are read.

    Args:
        folder: of the archive.
        files: in byte order of their paths.
        journal: what was read before; everything is kept there when this returns.
        preparation: how pixels are prepared.
        workers: processes that decode.
        after_file: called after each file; True if it was read, False if it was known.
    """
    named = [(os.path.relpath(file, folder), file, stamp_of(file)) for file in files]
    new = [file for path, file, stamp in named if journal.known(path, stamp) is None]
    fresh = read_all(new, partial(read_images, preparation=preparation), workers=workers)
    outcomes: list[tuple[str, Outcome]] = []
    for path, _, stamp in named:
        known = journal.known(path, stamp)
        outcomes.append((path, journal.keep(path, stamp, next(fresh)) if known is None else known))
        after_file(known is None)
    journal.flush()
    return outcomes


def admit(outcomes: Iterable[tuple[str, Outcome]], identity: Identity) -> Archive:
    """Sort out the files whose patient is not known, and those that repeat an instance; the first counts."""
    archive, found = Archive(), list[tuple[str, Read]]()
    for path, outcome in outcomes:
        if isinstance(outcome, Reason):
            archive.refused.append(Refusal(path, outcome))
        else:
            found.append((path, outcome))
    headers = identified([read.header for _, read in found], identity, files=[path for path, _ in found])
    seen: dict[str, tuple[Patient, str]] = {}
    for (path, read), header in zip(found, headers, strict=True):
        admitted = header if isinstance(header, Reason) else _once(header, read.digest, seen)
        if isinstance(admitted, Reason):
            archive.refused.append(Refusal(path, admitted))
        else:
            archive.paths.append(path)
            archive.images.append(admitted)
            archive.reads.append(read)
    return archive


def _once(header: Header, digest: str, seen: dict[str, tuple[Patient, str]]) -> Header | Reason:
    """The header if its instance was not seen before, else whether it is the same image again."""
    if header.instance_uid not in seen:
        seen[header.instance_uid] = header.patient, digest
        return header
    same = seen[header.instance_uid] == (header.patient, digest)
    return Reason.DUPLICATE_INSTANCE if same else Reason.CONFLICTING_INSTANCE
