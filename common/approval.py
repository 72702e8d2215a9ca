"""What a hospital says of a project bundle: it approves, or it revokes; signed, numbered, dated."""

from typing import ClassVar, Literal

from pydantic import PositiveInt

from common.signed import Hex32, Moment, Signed, SiteName


class Statement(Signed):
    """Bound to a bundle, a site and a place in the order of what the site says: it cannot be replayed.

    A site obeys one bundle at a time, so its last statement says all: an approval puts its bundle in the
    place of the one before, a revocation leaves none.
    """

    KIND: ClassVar[str] = "approval"

    format: Literal[1]
    site: SiteName
    bundle: Hex32
    """Digest of the bundle."""
    decision: Literal["approve", "revoke"]
    sequence: PositiveInt
    """One more than that of the site's statement before, whatever bundle that was about."""
    made: Moment

    @property
    def in_force(self) -> str | None:
        """Digest of the bundle that the site obeys if this is its last statement."""
        return self.bundle if self.decision == "approve" else None
