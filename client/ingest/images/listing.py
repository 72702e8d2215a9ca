"""The files of a folder, in an order that does not depend on the file system."""

import os
import stat
from pathlib import Path

from client.ingest.rejected import Reason, Refusal


def scan(folder: Path, *, leave_out: frozenset[Path] = frozenset()) -> tuple[list[Path], list[Refusal]]:
    """List every regular file under `folder` in byte order of its path, and what cannot be one.

    Links to files are followed, links to folders are refused. `leave_out` (resolved) is not listed.
    """
    files: list[Path] = []
    refusals: list[Refusal] = []

    def refuse(path: str | Path, reason: Reason) -> None:
        refusals.append(Refusal(os.path.relpath(path, folder), reason))

    def refuse_folder(error: OSError) -> None:
        refuse(error.filename, Reason.UNREADABLE)

    for parent, folders, names in os.walk(folder, onerror=refuse_folder):
        for name in folders:
            if (path := Path(parent, name)).is_symlink():
                refuse(path, Reason.LINKED_FOLDER)
        for path in (Path(parent, name) for name in names):
            if (reason := _not_a_file(path)) is not None:
                refuse(path, reason)
            elif not leave_out or path.resolve() not in leave_out:
                files.append(path)
    return sorted(files, key=os.fsencode), refusals


def _not_a_file(path: Path) -> Reason | None:
    try:
        return None if stat.S_ISREG(path.stat().st_mode) else Reason.NOT_A_FILE
    except OSError:
        return Reason.UNREADABLE
