"""A database on disc that nobody else can open: what does not fit into memory while a store is made.

It has no name from its first moment on, so that it is gone when its process ends, however that ends. It is
never committed and never synced: what it holds is read again after a crash.
"""

import errno
import os
import sqlite3
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from common.errors import ConfigurationError

PREFIX = ".reports."
CACHE_KIBIBYTES = 16 << 10

Value = str | int | bytes | None


class Scratch:
    """Tables that are as large as the disk."""

    def __init__(self, folder: Path) -> None:
        """Open an empty database among the files of `folder`.

        Raises:
            ConfigurationError: nothing can be written there.
        """
        self._folder = folder
        try:
            self._connection = self._nameless()
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise self._full() from None
            raise ConfigurationError(f"{folder}: {error.strerror}; give a --store you may write to") from None
        for setting in (
            *("journal_mode = OFF", "synchronous = OFF", "locking_mode = EXCLUSIVE"),
            # Sorting goes by the tables' own keys, so that nothing is written to the system's folder.
            *("temp_store = MEMORY", f"cache_size = -{CACHE_KIBIBYTES}"),
        ):
            self.run(f"PRAGMA {setting}")
        self.run("BEGIN EXCLUSIVE")

    def _nameless(self) -> sqlite3.Connection:
        descriptor, name = tempfile.mkstemp(dir=self._folder, prefix=PREFIX)
        os.close(descriptor)
        try:
            connection = sqlite3.connect(name, isolation_level=None)
            connection.execute("PRAGMA user_version").close()  # which opens the file
        finally:
            Path(name).unlink(missing_ok=True)
        return connection

    def close(self) -> None:
        """Give the disk back."""
        self._connection.close()

    def run(self, statement: str, values: Sequence[Value] = ()) -> sqlite3.Cursor:
        """Execute one statement of SQL.

        Raises:
            ConfigurationError: the disk is full.
        """
        try:
            return self._connection.execute(statement, values)
        except sqlite3.OperationalError as error:
            raise self._explained(error) from None

    def run_each(self, statement: str, rows: Iterable[Sequence[Value]]) -> None:
        """Execute one statement for each of `rows`.

        Raises:
            ConfigurationError: the disk is full.
        """
        try:
            self._connection.executemany(statement, rows)
        except sqlite3.OperationalError as error:
            raise self._explained(error) from None

    def number(self, statement: str, values: Sequence[Value] = ()) -> int:
        """The one number that a statement asks for."""
        (number,) = self.run(statement, values).fetchone()
        return int(number)

    def _explained(self, error: sqlite3.OperationalError) -> Exception:
        return self._full() if "full" in str(error) or "I/O" in str(error) else error

    def _full(self) -> ConfigurationError:
        return ConfigurationError(
            f"the disk of {self._folder} is full: reports are kept there while a store is made; make room "
            "for about three times their size and ingest again"
        )


def nearest_folder(path: Path) -> Path:
    """The folder `path`, or the first above it that exists."""
    return next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.is_dir())
