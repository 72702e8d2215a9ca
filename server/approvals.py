"""What hospitals said of bundles, as the hub knows it: who may be asked to take part in a run.

HUB/approvals/NAME.json   the last statement of a hospital, signed by it

Statements come by file, or with a site's answer to "hello".
"""

import logging
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime

from common.approval import Statement
from common.bundle import BundleManifest
from common.bundle_folder import open_bundle
from common.errors import FederationError, IntegrityError, PolicyError
from common.project import Project, open_project
from common.signed import parse_signed, read_signed, require_not_from_the_future
from server.cohort import Approvers, Everyone
from server.home import HubHome
from server.members import Members
from server.settings import RunSettings

log = logging.getLogger("fedvlp")

APPROVALS = "approvals"


@dataclass(frozen=True)
class ApprovalBox:
    """The last statement of every member."""

    home: HubHome

    def receive(self, statement: Statement, *, now: datetime) -> None:
        """Keep a statement, if it is a member's and newer than what that member said before.

        Raises:
            ConfigurationError: it is dated in the future.
            IntegrityError: another key signed it.
            PolicyError: the site is no member, or it is a replay.
        """
        site = statement.site
        statement.require_signature(self._identity(site), signer=f"the member {site}")
        require_not_from_the_future(statement.made, what=f"approval of {site}", now=now)
        last = self._last(site)
        if last is not None and last.sequence >= statement.sequence:
            if last == statement:
                return
            raise PolicyError(
                f"statement {statement.sequence} of {site} is a replay; its statement {last.sequence} is "
                "known already"
            )
        statement.save(self.home.folder / APPROVALS / f"{site}.json")

    def approvers(self, bundle: str) -> tuple[str, ...]:
        """Members whose last statement approves the bundle of this digest, by name."""
        names = [member.name for member in Members(self.home).all() if member.removed is None]
        said = {name: self._last(name) for name in names}
        return tuple(name for name, last in said.items() if last is not None and last.in_force == bundle)

    def _identity(self, site: str) -> str:
        member = Members(self.home).find(site)
        if member is None or member.removed is not None:
            how = "is not a member" if member is None else "was removed"
            raise PolicyError(f"{site} {how}; what it says of a project is not kept")
        return member.request.identity

    def _last(self, site: str) -> Statement | None:
        """What the member said last, under the keys that it has now."""
        path = self.home.folder / APPROVALS / f"{site}.json"
        if not path.exists():
            return None
        try:
            last = read_signed(path, Statement)
            last.require_signature(self._identity(site), signer=f"the member {site}")
        except IntegrityError:
            return None
        return last if last.site == site else None


@dataclass(frozen=True)
class Signatories:
    """The members who approve the bundle that the hub runs."""

    box: ApprovalBox
    manifest: BundleManifest
    ask: bool = True

    def current(self) -> Collection[str]:
        """Members of the bundle whose last statement approves it.

        Raises:
            PolicyError: the bundle has expired.
        """
        self.manifest.require_in_time(datetime.now(UTC))
        return [name for name in self.box.approvers(self.manifest.digest()) if name in self.manifest.sites]

    def hear(self, site: str, said: bytes) -> None:
        """Keep a good statement of this very site; anything else is written into the log and forgotten."""
        try:
            statement = parse_signed(said, Statement, where=f"what {site} says")
            if statement.site != site:
                raise IntegrityError(f"{site} hands in a statement of {statement.site}")
            self.box.receive(statement, now=datetime.now(UTC))
        except FederationError as error:
            log.warning("approval of %s not taken: %s", site, error)


def open_approved(settings: RunSettings) -> tuple[Project, Approvers]:
    """The project of a run, and who may be asked.

    With a hub's home the project must be a bundle of its operator; without one, as in simulation, whoever
    starts the run has approved it for all.

    Raises:
        IntegrityError: the bundle was changed, or another operator signed it.
        PolicyError: it has expired.
    """
    if settings.hub is None:
        project = open_project(settings.project)
        return project, Everyone(project)
    home = HubHome(settings.hub)
    bundle = open_bundle(settings.project, operator=home.consortium().operator, now=datetime.now(UTC))
    return bundle.project, Signatories(ApprovalBox(home), bundle.manifest)
