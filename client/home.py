"""A site's home: its identity, the roster that its people approved, and what it did in secure aggregation.

HOME/identity.key     Ed25519, made once, read by its owner only
HOME/roster.json      the approved roster
HOME/secagg/          see `client.secagg`
"""

import os
from dataclasses import dataclass
from pathlib import Path

from common.errors import ConfigurationError, PolicyError
from common.files import write_whole
from common.roster import Roster, read_roster, require_no_shrinking
from common.secagg.keys import KEY_BYTES, Secret
from common.secagg.site import Member

IDENTITY, ROSTER, ROUNDS = "identity.key", "roster.json", "secagg"


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
        try:
            key = path.read_bytes()
        except OSError:
            key = b""
        if len(key) != KEY_BYTES:
            raise ConfigurationError(
                f"{path} is no identity; make one with `fedvlp-site identity`",
                outward="no identity at this site",
            )
        return Secret(key)

    def approve(self, roster: Roster) -> None:
        """Keep `roster` as the one that this site's people approved.

        Raises:
            IntegrityError: a member did not sign it.
            PolicyError: it protects less than the one approved before.
        """
        roster.require_all_signatures()
        path = self.folder / ROSTER
        if path.exists():
            require_no_shrinking(read_roster(path), roster)
        roster.save(path)

    def member(self, name: str, roster: Roster) -> Member:
        """This site as a member of `roster`, which must be the approved one.

        Raises:
            PolicyError: this site's people approved another roster, or none.
        """
        path = self.folder / ROSTER
        if not path.exists() or read_roster(path).digest() != roster.digest():
            raise PolicyError(
                "the project's roster is not the one approved here; look at it and approve it with "
                "`fedvlp-site roster approve`",
                outward="roster not approved",
            )
        return Member(roster.place_of(name), self.identity(), roster.identities)
