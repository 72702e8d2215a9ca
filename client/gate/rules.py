"""Which app may run here at this moment: the one rule of a gate, named in its settings, never assumed."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from flwr.app import ConfigRecord, RecordDict

from client.approvals import Approvals
from client.home import Home
from common.bundle_folder import FAB
from common.errors import ConfigurationError, IntegrityError, PolicyError
from common.files import sha256_of

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
        if sha256_of(self.fab) != self.sha256:
            raise IntegrityError(
                f"{self.fab} was changed since it was approved; approve the bundle again",
                outward="project bundle damaged",
            )
        return self.fab.read_bytes()


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


@dataclass(frozen=True)
class ApprovedRule:
    """Of a site in a consortium: the app in the bundle that is in force in its home."""

    home: Home

    def check(self, *, now: datetime) -> None:
        """Hold every file of the bundle in force against what the operator signed, once.

        Raises:
            FederationError: see `Approvals.open` and `Approvals.in_force`.
        """
        approvals = Approvals(self.home)
        approvals.open(approvals.folder_of(approvals.in_force(now=now).digest()), now=now)

    def allowed(self, *, now: datetime) -> App:
        """See `Rule`; read anew each time, so that what is revoked or has expired stops at once."""
        approvals = Approvals(self.home)
        manifest = approvals.in_force(now=now)
        folder = approvals.folder_of(manifest.digest())
        return App(folder / FAB, manifest.fab, folder)

    def hello(self) -> RecordDict:
        """The site's name and its last signed statement, a revocation too."""
        return RecordDict({"hello": ConfigRecord({**Approvals(self.home).introduction()})})


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
