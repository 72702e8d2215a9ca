"""What a site's people approved and revoked: signed statements, and the very bundles they were about.

HOME/approvals.json         all statements, in order, each signed by the site
HOME/projects/DIGEST/       an approved bundle, copied and checked before it was approved

The site obeys its own copy, read anew at every message: what is revoked or expired stops at the next one.
"""

import json
import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from client.home import Home
from common.approval import Statement
from common.bundle import BUNDLE, BundleManifest, read_manifest
from common.bundle_folder import Bundle, open_bundle
from common.errors import ConfigurationError, IntegrityError, PolicyError
from common.files import sha256_of, whole_folder, write_whole
from common.lock_file import held_alone
from common.project import MANIFEST, SPEC
from common.regular_file import read_regular
from common.signed import parse_signed

NodeConfig = Mapping[str, str | int | float | bool]

APPROVALS, PROJECTS, LOCK = "approvals.json", "projects", ".approvals.lock"
RECORDS = (BUNDLE, MANIFEST, SPEC)
"""What stays of a bundle that is pruned."""


@dataclass(frozen=True)
class Approvals:
    """Of the site whose home this is."""

    home: Home

    def statements(self) -> tuple[Statement, ...]:
        """All of them, in order, checked.

        Raises:
            IntegrityError: one was changed, dropped or put elsewhere.
        """
        path = self.home.folder / APPROVALS
        if not path.exists():
            return ()
        try:
            said = [json.dumps(one).encode() for one in json.loads(read_regular(path))]
        except (OSError, ValueError, TypeError):
            raise self._damaged("cannot be read") from None
        found = tuple(parse_signed(one, Statement, where=str(path)) for one in said)
        identity = self.home.kit().identity  # the public half: whoever reads statements needs no secret
        for number, statement in enumerate(found, start=1):
            statement.require_signature(identity, signer="this site")
            if statement.sequence != number:
                raise self._damaged(f"lacks statement {number}")
        return found

    def approve(self, folder: Path, *, now: datetime) -> tuple[Bundle, Statement]:
        """Obey the bundle in `folder` from now on, and no other.

        Its roster, if it has one, is approved with it.

        Raises:
            ConfigurationError: there is no bundle, or it is dated in the future.
            IntegrityError: somebody else signed it, a file differs, or a member of its roster did not sign.
            PolicyError: it has expired, does not name this site, is older than the one approved before, or
                its roster has run out or protects less.
        """
        with self._alone():
            offered = self.open(folder, now=now)
            self._require_for_here(offered.manifest)
            place = self.folder_of(offered.digest)
            with whole_folder(place) as copy:
                shutil.copytree(folder, copy, symlinks=True, dirs_exist_ok=True)
                # What was copied, not what may have been exchanged meanwhile.
                if self.open(copy, now=now).digest != offered.digest:
                    raise IntegrityError(f"{folder} changed while it was read; nothing was approved")
            bundle = self.open(place, now=now)
            if bundle.manifest.roster is not None:
                self.home.approve(bundle.project.roster, now=now)
            return bundle, self._say(bundle.digest, "approve", now)

    def revoke(self, *, now: datetime) -> Statement:
        """Obey no bundle from now on.

        Raises:
            PolicyError: none is in force.
        """
        with self._alone():
            said = self.statements()
            digest = said[-1].in_force if said else None
            if digest is None:
                raise PolicyError("no project is approved here; there is nothing to revoke")
            return self._say(digest, "revoke", now)

    def open(self, folder: Path, *, now: datetime) -> Bundle:
        """The bundle in `folder`, held against this site's operator; see `open_bundle`."""
        return open_bundle(folder, operator=self.home.kit().operator, now=now)

    def in_force(self, *, now: datetime) -> BundleManifest:
        """What this site obeys at this moment.

        Raises:
            PolicyError: nothing: none was approved, or it was revoked, or has expired.
            IntegrityError: a statement or the manifest was changed.
        """
        said = self.statements()
        digest = said[-1].in_force if said else None
        if digest is None:
            revoked = f"the last one was revoked on {said[-1].made:%Y-%m-%d}" if said else "none ever was"
            raise PolicyError(
                f"no project is approved at {self.home.name} ({revoked}); look at one with `fedvlp-site "
                "project show BUNDLE` and approve it",
                outward="project revoked at this site" if said else "no project approved at this site",
            )
        manifest = read_manifest(self.folder_of(digest))
        manifest.require_signature(self.home.kit().operator, signer="this consortium's operator")
        if manifest.digest() != digest:
            raise IntegrityError(
                f"{self.folder_of(digest)} holds another bundle than the approved one; approve it again",
                outward="project bundle damaged",
            )
        manifest.require_in_time(now)
        return manifest

    def introduction(self) -> dict[str, str | bytes]:
        """What a hub that asks may know: the site's name and its last statement, a revocation too."""
        said = self.statements()
        return {"site": self.home.name, "statement": said[-1].to_bytes() if said else b""}

    def before(self, name: str) -> BundleManifest | None:
        """The last approved bundle of the project `name`; None if none ever was."""
        for statement in reversed(self.statements()):
            if statement.decision == "approve":
                manifest = read_manifest(self.folder_of(statement.bundle))
                if manifest.name == name:
                    return manifest
        return None

    def prune(self) -> int:
        """Thin out approved bundles that are neither in force nor the last of their project; bytes freed.

        What was approved stays to be read: manifest, project and settings. The app, the packages' list, the
        vocabulary and the weights go; whoever needs them has the operator's copy, by the same digest.

        Raises:
            ConfigurationError: somebody is approving, revoking or pruning at this moment.
            IntegrityError: a statement was changed.
        """
        with self._alone():
            said = self.statements()
            latest: dict[str, str] = {}
            for statement in said:
                if statement.decision == "approve":
                    latest[read_manifest(self.folder_of(statement.bundle)).name] = statement.bundle
            kept = {*latest.values(), said[-1].in_force if said else None}
            return sum(self._thin_out(digest) for digest in {one.bundle for one in said} - kept)

    def folder_of(self, digest: str) -> Path:
        """Where the approved bundle of this digest lies."""
        return self.home.folder / PROJECTS / digest

    def _require_for_here(self, manifest: BundleManifest) -> None:
        if self.home.name not in manifest.sites:
            raise PolicyError(
                f"project {manifest.name} does not name site {self.home.name}; it is for "
                f"{', '.join(manifest.sites)}"
            )
        before = self.before(manifest.name)
        if before is None or before.digest() == manifest.digest():
            return
        if manifest.version <= before.version:
            raise PolicyError(
                f"version {manifest.version} of project {manifest.name} does not follow version "
                f"{before.version}, which was approved here; ask the operator for the latest bundle"
            )

    def _alone(self) -> AbstractContextManager[None]:
        """From what is read of the statements to what is made of them: one person at a time, or one of two
        statements would be lost, or a bundle thinned out that is being approved."""
        self.home.kit()  # before the lock's file is made in a folder that is no home
        refusal = f"process {{holder}} is approving, revoking or pruning in {self.home.folder}; try again"
        return held_alone(self.home.folder / LOCK, refusal=refusal)

    def _thin_out(self, digest: str) -> int:
        """Bytes freed."""
        freed, folder = 0, self.folder_of(digest)
        records = [folder / name for name in RECORDS]
        for path in sorted(folder.rglob("*"), reverse=True):
            if path.is_dir():
                path.rmdir()
            elif path not in records:
                freed += path.stat().st_size
                path.unlink()
        return freed

    def _say(self, bundle: str, decision: Literal["approve", "revoke"], now: datetime) -> Statement:
        said = self.statements()
        statement = Statement(
            format=1,
            site=self.home.name,
            bundle=bundle,
            decision=decision,
            sequence=len(said) + 1,
            made=now,
        ).signed_by(self.home.identity())
        text = json.dumps([json.loads(one.to_bytes()) for one in (*said, statement)], indent=2)
        write_whole(self.home.folder / APPROVALS, text.encode() + b"\n")
        return statement

    def _damaged(self, how: str) -> IntegrityError:
        return IntegrityError(
            f"{self.home.folder / APPROVALS} {how}; restore it from your backup; nothing is approved "
            "until then",
            outward="approvals damaged",
        )


def project_of(node: NodeConfig, *, now: datetime) -> Path:
    """Folder of the project that a node obeys at this moment.

    A node whose `home` has joined a consortium obeys the bundle in force there. Any other, as in simulation,
    has been given its approved project by whoever started it: `project`.

    Raises:
        ConfigurationError: neither is set, or both, or the home is another site's.
        PolicyError: no bundle is in force.
        IntegrityError: what is in force was changed.
    """
    home = Home(Path(str(node["home"]))) if node.get("home") else None
    if home is None or not home.joined:
        if not node.get("project"):
            raise ConfigurationError(
                "node configuration lacks project, and no home that joined a consortium is named; set "
                "home with --node-config",
                outward="node configuration incomplete",
            )
        return Path(str(node["project"]))
    if node.get("project"):
        raise ConfigurationError(
            "this site obeys the project approved in its home; leave `project` out of the node configuration",
            outward="node configuration names a project beside the approved one",
        )
    if node.get("site") != home.name:
        raise ConfigurationError(
            f"the node configuration says site {node.get('site')}, the home is of {home.name}",
            outward="node configuration names another site",
        )
    approvals = Approvals(home)
    manifest = approvals.in_force(now=now)
    folder = approvals.folder_of(manifest.digest())
    if not (folder / MANIFEST).is_file() or sha256_of(folder / MANIFEST) != manifest.project:
        raise IntegrityError(
            f"{folder} holds another project than the approved bundle; approve the bundle again",
            outward="project bundle damaged",
        )
    return folder
