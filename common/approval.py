"""What a hospital says of a project bundle: it approves, or it revokes; signed, numbered, dated."""

from collections.abc import Iterable
from typing import ClassVar, Literal

from pydantic import PositiveInt

from common.signed import Hex32, Moment, Signed, SiteName


class Statement(Signed):
    """Bound to a bundle, a site and a place in the order of what the site says: it cannot be replayed."""

    KIND: ClassVar[str] = "approval"

    format: Literal[1]
    site: SiteName
    bundle: Hex32
    """Digest of the bundle."""
    decision: Literal["approve", "revoke"]
    sequence: PositiveInt
    """One more than that of the site's statement before, whatever bundle that was about."""
    made: Moment


def in_force(statements: Iterable[Statement]) -> str | None:
    """Digest of the bundle that a site obeys after these statements, in order; None for none.

    The last approval counts, until the same bundle is revoked.
    """
    current: str | None = None
    for statement in statements:
        if statement.decision == "approve":
            current = statement.bundle
        elif statement.bundle == current:
            current = None
    return current
