"""Which app may run here at this moment: the one rule of a gate, named in its settings, never assumed."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from flwr.app import ConfigRecord, RecordDict

from client.approvals import Approvals
from client.home import Home
from common.bundle_folder import FAB
from common.errors import ConfigurationError, IntegrityError, PolicyError

NOT_APPROVED = "code not approved at this site"


@dataclass(frozen=True)
class App:
    """An app that may run."""

    fab: Path
    sha256: str
    """Of the file `fab`: what a task must name."""
    project: Path | None
    """Folder of the project that it serves; None where the rule knows of none."""

    def content(self) -> bytes:
        """The bytes that run.

        Raises:
            IntegrityError: they are not those that were approved.
        """
        content = self.fab.read_bytes()  # once: what is run is what was looked at
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise IntegrityError(
                f"{self.fab} was changed since it was approved; approve the bundle again",
                outward="project bundle damaged",
            )
        return content


class Rule(Protocol):
    """Says what may run."""

    def allowed(self, *, now: datetime) -> App:
        """The one app that may run at this moment.

        Raises:
            PolicyError: none may.
            IntegrityError: what was approved is damaged.
        """

    def hello(self) -> RecordDict | None:
        """What a hub that asks who is here is told without any app; None where the app tells it."""


Marks = Mapping[str, tuple[int, ...]]
"""File of a folder -> by what the system would show that it was written to, or is another."""


@dataclass
class ApprovedRule:
    """Of a site in a consortium: the app in the bundle that is in force in its home."""

    home: Home
    _found_whole: tuple[str, Marks] | None = None
    """Digest and files of the bundle that was last held against what the operator signed."""

    def allowed(self, *, now: datetime) -> App:
        """See `Rule`; read anew each time, so that what is revoked or has expired stops at once.

        Every file of the bundle is what the operator signed: all are read the first time, and again when one
        was written to.
        """
        approvals = Approvals(self.home)
        manifest = approvals.in_force(now=now)
        folder = approvals.folder_of(manifest.digest())
        found = manifest.digest(), _marks(folder)
        if found != self._found_whole:
            approvals.open(folder, now=now)
            self._found_whole = found
        return App(folder / FAB, manifest.fab, folder)

    def hello(self) -> RecordDict:
        """The site's name and its last signed statement, a revocation too."""
        return RecordDict({"hello": ConfigRecord({**Approvals(self.home).introduction()})})


def _marks(folder: Path) -> Marks:
    stats = {str(path): path.lstat() for path in folder.rglob("*")}
    return {name: (one.st_ino, one.st_size, one.st_mtime_ns, one.st_ctime_ns) for name, one in stats.items()}


@dataclass(frozen=True)
class PinnedRule:
    """Of a node that never joined a consortium, as in simulation: the app that whoever started it named."""

    fab: Path
    sha256: str
    project: Path | None

    def allowed(self, *, now: datetime) -> App:  # noqa: ARG002 - a pin has no time
        """See `Rule`."""
        return App(self.fab, self.sha256, self.project)

    def hello(self) -> None:
        """Nothing: the app says who it is."""


def require(rule: Rule, *, fab_sha256: str, is_client_app: bool, now: datetime) -> App:
    """The app of a task, if it is the one that may run.

    Raises:
        PolicyError: it is another, or none may run.
        IntegrityError: what was approved is damaged.
    """
    app = rule.allowed(now=now)
    if not is_client_app or fab_sha256 != app.sha256:
        raise PolicyError(
            f"the hub asks for {'app' if is_client_app else 'an agent,'} {fab_sha256[:12]}, and "
            f"{app.sha256[:12]} is approved here; look at the hub's bundle and approve it",
            outward=NOT_APPROVED,
        )
    return app


def require_joined(home: Home) -> Home:
    """`home`, if it has joined a consortium.

    Raises:
        ConfigurationError: it has not.
    """
    if not home.joined:
        raise ConfigurationError(
            f"{home.folder} has joined no consortium, so nothing can be approved there; take its kit with "
            "`fedvlp-site join KIT`"
        )
    return home
