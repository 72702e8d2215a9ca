"""A roster of three hospitals, signed by all of them."""

import hashlib
from datetime import UTC, datetime
from typing import Any

from common.roster import Member, Roster, make_roster
from common.secagg.keys import Secret, identity_of

EXPIRES = datetime(2030, 1, 1, tzinfo=UTC)
IN_TIME = datetime(2029, 1, 1, tzinfo=UTC)
NAMES = ("east", "north", "west")
KEYS = {name: Secret(hashlib.sha256(name.encode()).digest()) for name in (*NAMES, "zoo")}


def roster(*, names: tuple[str, ...] = NAMES, signed: bool = True, **changes: Any) -> Roster:
    members = tuple(Member(name=name, identity=identity_of(KEYS[name]).hex()) for name in names)
    settings: dict[str, Any] = {
        "version": 1,
        "expires": EXPIRES,
        "min_sites": 3,
        "weight_cap": 1024,
        "profiles": ("wide",),
    }
    made = make_roster(members=members, **settings | changes)
    for name in names if signed else ():
        made = made.signed_by(name, KEYS[name])
    return made
