"""A consortium to test with: a hub and three hospitals that joined it, and bundles signed by its operator."""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tiny import SITES

from client.approvals import Approvals
from client.home import Home
from common.bundle_folder import Bundle, Offer, sign_bundle
from common.project import Project, open_project
from common.store import Store
from server.approvals import ApprovalBox
from server.flower_app import lock_file
from server.home import HubHome
from server.members import Members


@dataclass(frozen=True)
class Consortium:
    """Where its parties live."""

    hub: HubHome
    homes: dict[str, Home]
    folder: Path
    founded: datetime

    def bundle(self, project: Project, *, version: int = 1, days: float = 30, fab: bytes = b"fab") -> Bundle:
        """A signed copy of `project`."""
        place = self.folder / f"bundle-{project.manifest.name}-{version}-{days}-{len(fab)}"
        shutil.copytree(project.folder, place)
        offer = Offer(
            consortium="chest",
            version=version,
            fab=fab,
            lock=lock_file().read_bytes(),
            image=None,
            created=self.founded,
            expires=self.founded + timedelta(days=days),
        )
        return sign_bundle(open_project(place), offer, self.hub.operator(None))

    def approvals(self, site: str) -> Approvals:
        """Of one hospital."""
        return Approvals(self.homes[site])

    @property
    def box(self) -> ApprovalBox:
        """What the hub knows of approvals."""
        return ApprovalBox(self.hub)

    def node(self, site: str, stores: dict[str, Store], bank: Store) -> dict[str, str]:
        """What the node of `site` is started with."""
        home, store = self.homes[site].folder, stores[site].folder
        return {"site": site, "home": str(home), "store": str(store), "bank": str(bank.folder)}


def found(folder: Path, *, sites: Iterable[str] = SITES, hub: str = "hub.example.org:443") -> Consortium:
    """A hub and its hospitals, all in `folder`."""
    now = datetime.now(UTC).replace(microsecond=0)
    place, homes = HubHome(folder / "hub"), {}
    operator = place.found("chest", hub, further_names=[], password=None).operator
    for site in sites:
        home = Home(folder / site)
        kit = Members(place).admit(home.request(site, now=now), password=None, roster=None, now=now)
        home.join(kit, operator=operator, now=now)
        homes[site] = home
    return Consortium(place, homes, folder, now)
