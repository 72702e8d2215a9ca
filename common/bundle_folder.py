"""A project bundle on a disc, opened only when every byte is the one that the operator signed.

It is a project's folder (see `common.project`) with three files more:

app.fab             the Flower app, the very bytes that run at every hospital
requirements.lock   the packages that it runs with
bundle.json         see `common.bundle`; its digest is what a hospital approves
"""

import errno
import stat
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from common.bundle import BUNDLE, BundleManifest, ImageDigest, read_manifest
from common.errors import ConfigurationError, IntegrityError
from common.files import sha256_of, write_whole
from common.project import Project, open_project
from common.secagg.keys import Secret, identity_of
from common.spec.privacy import PatientPrivacySpec

FAB, LOCK = "app.fab", "requirements.lock"


@dataclass(frozen=True)
class Bundle:
    """A bundle whose signature and digests were checked."""

    manifest: BundleManifest
    project: Project

    @property
    def digest(self) -> str:
        """What is approved, hex."""
        return self.manifest.digest()


@dataclass(frozen=True)
class Offer:
    """What the operator adds to a project."""

    consortium: str
    version: int
    fab: bytes
    lock: bytes
    image: ImageDigest | None
    created: datetime
    expires: datetime


def sign_bundle(project: Project, offer: Offer, operator: Secret) -> Bundle:
    """Make the folder of `project` a bundle, signed with the operator's key.

    Raises:
        ConfigurationError: it would expire before it begins.
    """
    if offer.expires <= offer.created:
        raise ConfigurationError(f"the bundle would expire on {offer.expires:%Y-%m-%d}: choose a later day")
    write_whole(project.folder / FAB, offer.fab)
    write_whole(project.folder / LOCK, offer.lock)
    manifest = BundleManifest(
        format=1,
        consortium=offer.consortium,
        operator=identity_of(operator).hex(),
        version=offer.version,
        fab=sha256_of(project.folder / FAB),
        lock=sha256_of(project.folder / LOCK),
        files=_digests(project.folder),
        image=offer.image,
        created=offer.created,
        expires=offer.expires,
        **_facts(project),
    ).signed_by(operator)
    manifest.save(project.folder / BUNDLE)
    return Bundle(manifest, project)


def open_bundle(folder: Path, *, operator: str, now: datetime) -> Bundle:
    """The bundle in `folder`, if it is one of this operator, whole and in time.

    Args:
        folder: of the bundle.
        operator: Ed25519 public key that must have signed it, hex.
        now: the time.

    Raises:
        ConfigurationError: there is no bundle, or it is dated in the future.
        IntegrityError: another key signed it, or a file differs from what was signed.
        PolicyError: it has expired.
    """
    manifest = read_manifest(folder)
    manifest.require_signature(operator, signer="this consortium's operator")
    manifest.require_in_time(now)
    found = _digests(folder)
    for name in sorted(found.keys() | manifest.files.keys()):
        if found.get(name) != manifest.files.get(name):
            raise _differs(manifest, name)
    project = open_project(folder)
    facts = _facts(project) | {"fab": found.get(FAB), "lock": found.get(LOCK)}
    for key, value in facts.items():
        if getattr(manifest, key) != value:
            raise _differs(manifest, "project.json" if key == "project" else key)
    return Bundle(manifest, project)


def _digests(folder: Path) -> dict[str, str]:
    """Path -> digest of every file in `folder` but the manifest; there is nothing but files and folders."""
    try:
        kinds = {path: path.lstat().st_mode for path in sorted(folder.rglob("*"))}
        for path, kind in kinds.items():
            if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
                raise OSError(errno.EINVAL, "neither a file nor a folder", str(path))
        files = [path for path, kind in kinds.items() if stat.S_ISREG(kind) and path != folder / BUNDLE]
        return {path.relative_to(folder).as_posix(): sha256_of(path) for path in files}
    except OSError as error:
        raise ConfigurationError(
            f"{error.filename}: {error.strerror}; fetch the bundle again",
            outward="project bundle cannot be read",
        ) from None


def _facts(project: Project) -> dict[str, object]:
    """What the manifest repeats of the project, so that a person and a gate need not read the spec."""
    privacy = project.spec.privacy
    budget = privacy if isinstance(privacy, PatientPrivacySpec) else None
    return {
        "name": project.manifest.name,
        "project": project.digest,
        "sites": project.manifest.sites,
        "rounds": project.spec.federation.rounds,
        "epsilon": {} if budget is None else dict.fromkeys(project.manifest.sites, budget.epsilon),
        "delta": None if budget is None else budget.delta,
        "roster": project.manifest.roster_sha256,
        "bank": project.manifest.bank_sha256,
    }


def _differs(manifest: BundleManifest, what: str) -> IntegrityError:
    return IntegrityError(
        f"bundle of project {manifest.name}: {what} differs from what the operator signed; fetch it again",
        outward="project bundle damaged",
    )
