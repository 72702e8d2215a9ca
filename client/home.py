"""A site's home: its keys, its place in the consortium, what its people approved, what it did in a round.

HOME/identity.key     Ed25519, made once, read by its owner only: signs rosters, rounds and approvals
HOME/sealing.key      32 random bytes, likewise: seals what a round leaves on the disc
HOME/node.key         ECDSA P-384, likewise: by which the site's node proves itself to the hub
HOME/request.json     what this site asked the consortium for, with its name
HOME/kit.json         the consortium's answer: hub, authority, operator
HOME/authority.pem    from the kit, for Flower and others who read files
HOME/certificate.pem  from the kit: this site's certificate, for networks that ask for one
HOME/roster.json      the approved roster
HOME/clock/           see `client.clock`
HOME/approvals.json   what the site's people said of projects, see `client.approvals`
HOME/projects/        the bundles that they approved
HOME/secagg/          see `client.secagg`
HOME/training/        a round that was cut short, see `train.save_every_steps`
HOME/run/, logs/      see `client.site_processes`
HOME/audit/           see `client.audit`
HOME/ledger/          see `client.ledger`; another folder where the site says so
"""

import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from client.node_key import certificate_request, public_node_key, write_node_key
from common.errors import ConfigurationError, IntegrityError, PolicyError
from common.files import write_whole
from common.joining import JoinRequest, Kit
from common.regular_file import read_regular, read_regular_text
from common.roster import Roster, read_roster, require_no_shrinking
from common.secagg.keys import KEY_BYTES, Secret, identity_of
from common.secagg.site import Member
from common.signed import SiteName, read_signed

IDENTITY, ROSTER, ROUNDS, LEDGER = "identity.key", "roster.json", "secagg", "ledger"
SEALING, NODE_KEY, REQUEST, KIT = "sealing.key", "node.key", "request.json", "kit.json"
AUTHORITY, CERTIFICATE = "authority.pem", "certificate.pem"


@dataclass(frozen=True)
class Home:
    """The folder of one site's secrets and state."""

    folder: Path

    def identity(self, *, create: bool = False) -> Secret:
        """The signing key.

        Raises:
            ConfigurationError: there is none and `create` is not set, or the file holds something else.
        """
        path = self.folder / IDENTITY
        if create and not path.exists():
            write_whole(path, os.urandom(KEY_BYTES), mode=0o600)
        remedy = "make one with `fedvlp-site init NAME` or `fedvlp-site identity`"
        return _read_key(path, "identity", remedy=remedy)

    def sealing(self) -> Secret:
        """The key that seals what a round leaves on this site's disc; made when there is none.

        Raises:
            ConfigurationError: the file holds something else.
        """
        path = self.folder / SEALING
        if not path.exists():
            write_whole(path, os.urandom(KEY_BYTES), mode=0o600)
        remedy = "restore it from your backup, or remove it between two rounds"
        return _read_key(path, "sealing key", remedy=remedy)

    def request(self, name: str, *, now: datetime) -> JoinRequest:
        """Make this site's keys, unless they are there, and what it asks the consortium for.

        Raises:
            ConfigurationError: the name cannot be one, this is the home of another site, or a key is damaged;
                nothing was changed.
        """
        try:
            TypeAdapter(SiteName).validate_python(name)
        except ValidationError:
            raise ConfigurationError(
                f"site name {name!r} cannot be used; take letters, digits, dots, hyphens and underscores"
            ) from None
        if (self.folder / REQUEST).exists() and self.name != name:
            raise ConfigurationError(
                f"{self.folder} is the home of {self.name}; give {name} a --home of its own"
            )
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        identity = self.identity(create=True)
        self.sealing()
        if not self.node_key.exists():
            write_node_key(self.node_key)
        request = JoinRequest(
            format=1,
            site=name,
            identity=identity_of(identity).hex(),
            certificate_request=certificate_request(self.node_key, name),
            made=now,
        ).signed_by(identity)
        request.save(self.folder / REQUEST)
        return request

    def join(self, kit: Kit, *, operator: str | None, now: datetime) -> None:
        """Take the consortium's kit; a later one renews certificates and may move the hub, and no more.

        Args:
            kit: as it came.
            operator: the operator's public key, hex, as it was told by a trusted way; needed the first time.
            now: the time.

        Raises:
            ConfigurationError: `operator` is missing, or the kit is dated in the future.
            IntegrityError: the kit is another's, was changed, or comes from another operator or authority.
            PolicyError: it is older than the one in force, or a certificate in it has run out.
        """
        before = self.kit() if self.joined else None
        trusted = operator if before is None else before.operator
        if trusted is None:
            raise ConfigurationError(
                "the first kit needs --operator KEY: the operator's line of `fedvlp-server init`, told to "
                "you by a trusted way and not by the mail that brought the kit"
            )
        if kit.operator != trusted or operator not in (None, trusted):
            raise IntegrityError(
                f"the kit comes from operator {kit.operator[:16]}, not from {trusted[:16]}; do not use it"
            )
        kit.require_valid(now=now)
        identity = identity_of(self.identity()).hex()
        kit.require_of(site=self.name, identity=identity, node_key=public_node_key(self.node_key))
        if before is not None:
            _require_successor(before, kit)
        write_whole(self.folder / AUTHORITY, kit.authority.encode())
        write_whole(self.folder / CERTIFICATE, kit.certificate.encode())
        kit.save(self.folder / KIT)

    @property
    def name(self) -> str:
        """The site's, as it asked for it.

        Raises:
            ConfigurationError: it never did.
        """
        if not (self.folder / REQUEST).exists():
            raise ConfigurationError(
                f"{self.folder} is no site's home; make it one with `fedvlp-site init NAME`",
                outward="site not initialised",
            )
        return read_signed(self.folder / REQUEST, JoinRequest).site

    @property
    def node_key(self) -> Path:
        """Private key for the site's SuperNode, as Flower reads it."""
        return self.folder / NODE_KEY

    @property
    def joined(self) -> bool:
        """Whether the site has taken a kit."""
        return (self.folder / KIT).exists()

    def kit(self) -> Kit:
        """The consortium's answer, as it was taken.

        Raises:
            ConfigurationError: there is none yet.
            IntegrityError: it was changed since.
        """
        if not self.joined:
            raise ConfigurationError(
                f"{self.folder} has joined no consortium; take its kit with `fedvlp-site join KIT`",
                outward="site has joined no consortium",
            )
        kit = read_signed(self.folder / KIT, Kit)
        kit.require_signature(kit.operator, signer="the operator that it names")
        return kit

    def fit_kit(self) -> Kit:
        """The kit in force, of this very site and its keys, with the authority that Flower is given.

        Raises:
            ConfigurationError: there is none yet, or a key cannot be read.
            IntegrityError: it was changed since, names other keys, or Flower would trust another authority.
        """
        kit, authority = self.kit(), self.folder / AUTHORITY
        identity = identity_of(self.identity()).hex()
        kit.require_of(site=self.name, identity=identity, node_key=public_node_key(self.node_key))
        if not authority.is_file() or read_regular_text(authority, errors="replace") != kit.authority:
            raise IntegrityError(
                f"{authority} differs from the kit; take the kit again with `fedvlp-site join KIT`"
            )
        return kit

    def approve(self, roster: Roster, *, now: datetime) -> None:
        """Keep `roster` as the one that this site's people approved.

        Raises:
            IntegrityError: a member did not sign it.
            PolicyError: it has run out, or protects less than the one approved before.
        """
        roster.require_all_signatures()
        roster.require_in_time(now)
        path = self.folder / ROSTER
        if path.exists():
            require_no_shrinking(read_roster(path), roster)
        roster.save(path)

    def member(self, name: str, roster: Roster, *, now: datetime) -> Member:
        """This site as a member of `roster`, which must be the approved one.

        Raises:
            PolicyError: this site's people approved another roster, or none, or it has run out.
        """
        path = self.folder / ROSTER
        if not path.exists() or read_roster(path).digest() != roster.digest():
            raise PolicyError(
                "the project's roster is not the one approved here; look at it and approve it with "
                "`fedvlp-site roster approve`",
                outward="roster not approved",
            )
        roster.require_in_time(now)
        return Member(roster.place_of(name), self.identity(), roster.identities)


def _read_key(path: Path, what: Literal["identity", "sealing key"], *, remedy: str) -> Secret:
    """The 32 bytes in a file."""
    try:
        key = read_regular(path)
    except FileNotFoundError:
        key = b""
    except OSError as error:
        raise ConfigurationError(
            f"{path}: {error.strerror}; it must be a file of the account that runs this site",
            outward=f"no {what} at this site",
        ) from None
    if len(key) != KEY_BYTES:
        raise ConfigurationError(f"{path} is no {what}; {remedy}", outward=f"no {what} at this site")
    return Secret(key)


def _require_successor(before: Kit, kit: Kit) -> None:
    if kit.authority != before.authority:
        raise IntegrityError("the kit names another authority than the one this site trusts; do not use it")
    if kit.issued < before.issued:
        raise PolicyError(
            f"the kit of {kit.issued:%Y-%m-%d %H:%M} is older than the one in force "
            f"({before.issued:%Y-%m-%d %H:%M}); nothing was changed"
        )
