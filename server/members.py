"""The hospitals of a consortium: admitted on their request, until they are removed; one file each."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pydantic import BaseModel, ConfigDict, ValidationError

from common.errors import ConfigurationError, PolicyError
from common.files import write_whole
from common.joining import JoinRequest, Kit
from common.regular_file import read_regular
from common.roster import Roster
from common.signed import Moment
from server.authority import pem_of
from server.home import HubHome

MEMBERS = "members"


class Membership(BaseModel):
    """What the hub keeps of one hospital."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1]
    request: JoinRequest
    admitted: Moment
    removed: Moment | None
    """A removed hospital never comes back under the same keys."""
    former_keys: tuple[str, ...] = ()
    """Public keys under which a hospital of this name was removed before."""

    @property
    def name(self) -> str:
        """Of the hospital."""
        return self.request.site


@dataclass(frozen=True)
class Members:
    """All hospitals that were ever admitted to the consortium of `home`."""

    home: HubHome

    def admit(
        self, request: JoinRequest, *, password: bytes | None, roster: Roster | None, now: datetime
    ) -> Kit:
        """Take a hospital in and make its kit; nothing changes for the others.

        A hospital that is in already gets a new kit with a new certificate.

        Raises:
            ConfigurationError: the request is dated in the future, or the password is wrong.
            IntegrityError: the request does not prove its keys.
            PolicyError: its name or one of its keys is another's, or was removed.
        """
        request.require_valid(now=now)
        with self.home.locked():
            self._require_new_keys(request)
            kit = self._kit(request, password=password, roster=roster, now=now)
            before = self.find(request.site)
            if before is None or before.removed is not None:
                former = () if before is None else (*before.former_keys, *_keys(before.request))
                self._write(
                    Membership(format=1, request=request, admitted=now, removed=None, former_keys=former)
                )
            return kit

    def renew(self, name: str, *, password: bytes | None, roster: Roster | None, now: datetime) -> Kit:
        """A new kit, with a new certificate, for a hospital that is in.

        Raises:
            ConfigurationError: there is no such member, or the password is wrong.
        """
        with self.home.locked():
            return self._kit(self.current(name).request, password=password, roster=roster, now=now)

    def remove(self, name: str, *, now: datetime) -> Membership:
        """Shut a hospital out, for ever under these keys.

        Raises:
            ConfigurationError: there is no such member.
        """
        with self.home.locked():
            removed = self.current(name).model_copy(update={"removed": now})
            self._write(removed)
            return removed

    def current(self, name: str) -> Membership:
        """The member `name`.

        Raises:
            ConfigurationError: nobody of that name is in.
        """
        found = self.find(name)
        if found is None or found.removed is not None:
            names = ", ".join(member.name for member in self.all() if member.removed is None) or "nobody yet"
            raise ConfigurationError(f"{name} is not a member; members are {names}")
        return found

    def find(self, name: str) -> Membership | None:
        """The hospital `name`, removed or not; None if it was never admitted."""
        path = self.home.folder / MEMBERS / f"{name}.json"
        if not path.exists():
            return None
        try:
            return Membership.model_validate_json(read_regular(path))
        except (OSError, ValidationError):
            raise ConfigurationError(f"{path} cannot be read; restore it from your backup") from None

    def all(self) -> Iterator[Membership]:
        """In the order of names, removed ones too."""
        for path in sorted((self.home.folder / MEMBERS).glob("*.json")):
            found = self.find(path.stem)
            if found is not None:
                yield found

    def _require_new_keys(self, request: JoinRequest) -> None:
        asked = _keys(request)
        for member in self.all():
            held = _keys(member.request)
            if member.name == request.site and member.removed is None:
                if held == asked:
                    continue
                raise PolicyError(
                    f"{member.name} is a member with other keys; if the hospital lost them, remove it first"
                )
            if {*held, *member.former_keys} & {*asked}:
                belongs = member.removed is None and {*held} & {*asked}
                was = f"belongs to {member.name}" if belongs else "was removed"
                raise PolicyError(
                    f"a key of this request {was}; the hospital makes new ones with `fedvlp-site init` in an "
                    "empty home"
                )

    def _kit(
        self, request: JoinRequest, *, password: bytes | None, roster: Roster | None, now: datetime
    ) -> Kit:
        consortium, authority = self.home.consortium(), self.home.authority(password)
        key = load_pem_public_key(request.node_key.encode())
        assert isinstance(key, ec.EllipticCurvePublicKey)
        return Kit(
            format=1,
            consortium=consortium.name,
            operator=consortium.operator,
            hub=consortium.hub,
            authority=pem_of(authority.certificate).decode("ascii"),
            site=request.site,
            identity=request.identity,
            certificate=pem_of(authority.client_certificate(key, request.site)).decode("ascii"),
            roster=roster,
            issued=now,
        ).signed_by(self.home.operator(password))

    def _write(self, member: Membership) -> None:
        text = member.model_dump_json(indent=2, exclude_unset=True).encode() + b"\n"
        write_whole(self.home.folder / MEMBERS / f"{member.name}.json", text)


def _keys(request: JoinRequest) -> tuple[str, str]:
    return request.identity, request.node_key
