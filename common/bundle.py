"""What the operator signs of a project, a hospital approves by hash, and its gate lets run: `bundle.json`."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from common.errors import PolicyError
from common.signed import Hex32, Moment, Signed, SiteName, read_signed, require_not_from_the_future

BUNDLE = "bundle.json"

ImageDigest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


class BundleManifest(Signed):
    """Digests of everything that will run, and the terms; signed by the operator."""

    KIND: ClassVar[str] = "project bundle"

    format: Literal[1]
    consortium: str
    operator: Hex32
    """Ed25519 public key; a site holds it to be the one of its kit."""
    name: str
    version: PositiveInt
    """Rises with every bundle of this name."""
    project: Hex32
    """Digest of project.json: spec, vocabulary, sites, towers."""
    sites: tuple[SiteName, ...]
    rounds: PositiveInt
    epsilon: dict[SiteName, PositiveFloat]
    """Site -> what the project may spend of each patient there; empty without privacy."""
    delta: Annotated[float, Field(gt=0, lt=1)] | None
    """That goes with epsilon."""
    fab: Hex32
    """SHA-256 of the Flower app."""
    lock: Hex32
    """SHA-256 of the list of packages that it runs with."""
    files: dict[str, Hex32]
    """Path in the bundle -> SHA-256, of every file but the manifest; a bundle holds no other."""
    image: ImageDigest | None
    """The container image, where the operator pins one."""
    roster: Hex32 | None
    """Digest of the members' roster; None without secure aggregation."""
    bank: Hex32 | None
    """Digest of the public bank; None where the project uses none."""
    created: Moment
    expires: Moment

    def require_in_time(self, now: datetime) -> None:
        """Refuse it outside its time.

        Raises:
            ConfigurationError: it is dated in the future.
            PolicyError: it has expired.
        """
        require_not_from_the_future(self.created, what="project bundle", now=now)
        if now >= self.expires:
            raise PolicyError(
                f"project {self.name} version {self.version} expired on {self.expires:%Y-%m-%d %H:%M} UTC; "
                "ask the operator for a new bundle and approve it",
                outward="project bundle expired",
            )


def read_manifest(folder: Path) -> BundleManifest:
    """The manifest of the bundle in `folder`; neither its signature nor the files beside it are checked.

    Raises:
        ConfigurationError: there is none that can be read.
        IntegrityError: it is cut short, or something else.
    """
    return read_signed(folder / BUNDLE, BundleManifest)
