"""Attempts of secure aggregation, numbered: FOLDER/attempts.json, project -> the last number given out.

A site refuses an attempt that is not newer than the last of its project, so numbers rise: over restarts and a
clock that was set back by what is on the disc, and over a disc that was lost or restored by the clock.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import NonNegativeInt, RootModel, ValidationError

from common.errors import ConfigurationError
from common.files import write_whole
from common.regular_file import read_regular

FILE = "attempts.json"
NANOSECONDS_PER_ATTEMPT = 1_000_000
"""By the clock a millisecond has a number."""

Numbers = RootModel[dict[str, NonNegativeInt]]


@dataclass(frozen=True)
class Attempts:
    """Of one hub, or of one run where there is no hub; one process uses them at a time."""

    folder: Path
    clock: Callable[[], int] = time.time_ns

    def next(self, project: str) -> int:
        """A number above all before it of the project with this digest; on the disc before anybody sees it.

        Raises:
            ConfigurationError: the file is damaged, or the disk is full.
        """
        known = self._read()
        number = max(known.get(project, 0) + 1, self.clock() // NANOSECONDS_PER_ATTEMPT)
        text = Numbers(known | {project: number}).model_dump_json(indent=2)
        write_whole(self.folder / FILE, text.encode() + b"\n")
        return number

    def _read(self) -> dict[str, int]:
        path = self.folder / FILE
        try:
            return Numbers.model_validate_json(read_regular(path)).root
        except FileNotFoundError:
            return {}
        except (OSError, ValidationError):
            raise ConfigurationError(
                f"{path} is damaged; restore it from your backup, or set the clock right and remove it"
            ) from None
