"""A site's clock, and the latest time that it ever showed: HOME/clock/latest-time.

What has expired stays expired: a clock that was set back behind that time is refused. The gate notes the time
every minute and at every message, the people's commands whenever they change what holds here.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from common.errors import ConfigurationError
from common.files import write_whole
from common.regular_file import read_regular_text
from common.signed import CLOCK_TOLERANCE

CLOCK, LATEST = "clock", "latest-time"
SOON = timedelta(minutes=1)
"""Times that lie nearer together are not written down one by one."""


@dataclass(frozen=True)
class SiteClock:
    """Of the site with this home."""

    home: Path

    def now(self) -> datetime:
        """The time, UTC.

        Raises:
            ConfigurationError: the clock was set back, or nobody can tell whether it was.
        """
        return self._read()[0]

    def noted(self) -> datetime:
        """The time, UTC, and it is not forgotten; where there is no home yet, there is nothing to keep it in.

        Raises:
            ConfigurationError: see `now`; or the disk is full.
        """
        now, latest = self._read()
        if self.home.is_dir() and (latest is None or now - latest > SOON):
            (self.home / CLOCK).mkdir(mode=0o700, exist_ok=True)
            write_whole(self._path, f"{now.isoformat(timespec='seconds')}\n".encode(), mode=0o600)
        return now

    @property
    def _path(self) -> Path:
        return self.home / CLOCK / LATEST

    def _read(self) -> tuple[datetime, datetime | None]:
        now, latest = datetime.now(UTC), self._latest()
        if latest is not None and latest - now > CLOCK_TOLERANCE:
            raise ConfigurationError(
                f"this machine's clock says {now:%Y-%m-%d %H:%M} UTC, but it said {latest:%Y-%m-%d %H:%M} "
                f"before: set it; if it was the earlier time that was wrong, remove {self._path}",
                outward="clock of this site was set back",
            )
        return now, latest

    def _latest(self) -> datetime | None:
        try:
            return datetime.fromisoformat(read_regular_text(self._path, encoding="ascii").strip()).astimezone(
                UTC
            )
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, OverflowError):
            raise ConfigurationError(
                f"{self._path} cannot be read, so nobody can tell whether the clock was set back; see that "
                "the clock is right and remove it",
                outward="clock of this site was set back",
            ) from None
