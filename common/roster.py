"""The roster: who may take part, by name and Ed25519 identity, signed by every one of them.

It is made once for a consortium and travels as one JSON file beside the project. Nobody can be added, removed
or given another key without all signatures anew, and a site keeps to the roster that its own people approved,
until the day that it names.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, model_validator

from common.canonical import canonical
from common.errors import ConfigurationError, IntegrityError, PolicyError
from common.files import write_whole
from common.regular_file import read_regular
from common.secagg.abort import AbortError
from common.secagg.keys import Secret, identity_of, sign, verify
from common.signed import Moment
from common.spec.secure_aggregation import SMALLEST_COHORT
from common.update import ProfileName

Hex32 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Hex64 = Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]


class Member(BaseModel):
    """One hospital."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    identity: Hex32
    """Ed25519 public key."""


class Roster(BaseModel):
    """What all members signed, and their signatures."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[2] = 2
    version: PositiveInt
    expires: Moment
    """From then on nobody takes part under it."""
    members: Annotated[tuple[Member, ...], Field(min_length=SMALLEST_COHORT)]
    """In the order of names; a member's place is its number in every message."""
    min_sites: Annotated[int, Field(ge=SMALLEST_COHORT)]
    """Fewer sites are never summed."""
    weight_cap: PositiveInt
    """The most that one member counts in a mean."""
    profiles: Annotated[tuple[ProfileName, ...], Field(min_length=1)]
    """How updates may be packed."""
    signatures: dict[str, Hex64] = {}
    """Name -> Ed25519 signature over all of the above."""

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [member.name for member in self.members]
        if names != sorted(set(names)):
            raise ValueError("members must be named once each, in order")
        if len({member.identity for member in self.members}) < len(names):
            raise ValueError("two members have the same identity")
        if self.min_sites > len(names):
            raise ValueError(f"min_sites = {self.min_sites}, but there are {len(names)} members")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """All members."""
        return tuple(member.name for member in self.members)

    @property
    def identities(self) -> Mapping[int, bytes]:
        """Place -> Ed25519 public key."""
        return {place: bytes.fromhex(member.identity) for place, member in enumerate(self.members)}

    def place_of(self, name: str) -> int:
        """The number of the member `name`.

        Raises:
            ConfigurationError: there is none of that name.
        """
        if name not in self.names:
            raise ConfigurationError(
                f"the roster does not name site {name}", outward="site not in the roster"
            )
        return self.names.index(name)

    def require_in_time(self, now: datetime) -> None:
        """Refuse a roster that has run out.

        Raises:
            PolicyError: it has.
        """
        if now >= self.expires:
            raise PolicyError(
                f"roster version {self.version} ran out on {self.expires:%Y-%m-%d %H:%M} UTC; sign and "
                "approve the next version",
                outward="roster has run out",
            )

    def digest(self) -> bytes:
        """SHA-256 of what is signed; signatures do not change it."""
        said = self.model_dump(mode="json", exclude={"signatures"})
        return hashlib.sha256(canonical(said)).digest()

    def signed_by(self, name: str, signing_key: Secret) -> "Roster":
        """With the signature of the member `name`.

        Raises:
            IntegrityError: the roster names another identity for this member.
        """
        if self.identities[self.place_of(name)] != identity_of(signing_key):
            raise IntegrityError(f"the roster has another identity for {name}; tell its author yours")
        signature = sign(signing_key, ("FedVLP roster", self.digest())).hex()
        return self.model_copy(update={"signatures": {**self.signatures, name: signature}})

    def require_all_signatures(self) -> None:
        """Refuse a roster that a member did not sign.

        Raises:
            IntegrityError: a signature is missing or wrong.
        """
        for place, name in enumerate(self.names):
            try:
                signature = bytes.fromhex(self.signatures.get(name, ""))
                verify(self.identities[place], signature, ("FedVLP roster", self.digest()))
            except AbortError:
                raise IntegrityError(
                    f"the roster lacks a valid signature of {name}; ask that site to sign it",
                    outward="roster not signed by every member",
                ) from None

    def save(self, path: Path) -> None:
        """Write it to `path`."""
        write_whole(path, self.model_dump_json(indent=2).encode() + b"\n")


def make_roster(
    *,
    version: int,
    expires: datetime,
    members: tuple[Member, ...],
    min_sites: int,
    weight_cap: int,
    profiles: tuple[ProfileName, ...],
) -> Roster:
    """A roster that nobody signed yet.

    Raises:
        ConfigurationError: the values cannot go together.
    """
    try:
        return Roster(
            version=version,
            expires=expires,
            members=members,
            min_sites=min_sites,
            weight_cap=weight_cap,
            profiles=profiles,
        )
    except ValidationError as error:
        raise ConfigurationError(f"no such roster can be: {_complaint(error)}") from None


def read_roster(path: Path) -> Roster:
    """The roster in the file `path`; signatures are not checked yet.

    Raises:
        ConfigurationError: there is none, or it is no roster.
    """
    try:
        content = read_regular(path)
        if b'"format": 1,' in content:
            raise ConfigurationError(
                f"{path} is a roster of format 1, which never ran out; make, sign and approve one of "
                "format 2",
                outward="no valid roster at this site",
            )
        return Roster.model_validate_json(content)
    except (OSError, ValidationError) as error:
        what = _complaint(error) if isinstance(error, ValidationError) else error.strerror
        raise ConfigurationError(
            f"{path} is no roster: {what}", outward="no valid roster at this site"
        ) from None


def _complaint(error: ValidationError) -> str:
    return error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")


def require_no_shrinking(approved: Roster, new: Roster) -> None:
    """Refuse a successor that protects less than the roster which was approved.

    Raises:
        PolicyError: it is older, or allows smaller cohorts.
    """
    if new.version <= approved.version and new.digest() != approved.digest():
        raise PolicyError(f"roster version {new.version} does not follow version {approved.version}")
    if new.min_sites < approved.min_sites:
        raise PolicyError(
            f"the new roster lets {new.min_sites} sites be summed, the approved one {approved.min_sites}"
        )
