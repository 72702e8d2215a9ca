"""The messages of a round, and their bytes. A message that is not exactly one of these is refused.

Sites are known by their place in the roster, from 0. Tables are sent in the order of places.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from common.secagg.abort import Reason, refusal
from common.secagg.encoding import Item, decode, encode
from common.secagg.keys import KEY_BYTES, SIGNATURE_BYTES, TAG_BYTES
from common.secagg.shamir import SHARE_BYTES

SEALED_BYTES = 2 * SHARE_BYTES + TAG_BYTES
"""A share of the self seed and one of the mask key, sealed for one site."""

Table = dict[int, bytes]
"""Place of a site -> its part of a message."""


@dataclass(frozen=True)
class Advert:
    """A site's fresh keys for this round, signed with its identity."""

    site: int
    sealing_key: bytes
    """X25519; shares for this site are sealed with it."""
    mask_key: bytes
    """X25519; agreed masks come from it."""
    commitment: bytes
    """Digest of the self seed."""
    signature: bytes

    def fields(self) -> tuple[int, bytes, bytes, bytes, bytes]:
        """As they are hashed and sent."""
        return (self.site, self.sealing_key, self.mask_key, self.commitment, self.signature)

    def to_bytes(self) -> bytes:
        """As it is sent."""
        return encode(self.fields())

    @classmethod
    def from_bytes(cls, data: bytes) -> "Advert":
        """The inverse of `to_bytes`."""
        return _advert(decode(data))


def adverts_to_bytes(adverts: Mapping[int, Advert]) -> bytes:
    """All sites' adverts."""
    return encode([adverts[site].fields() for site in sorted(adverts)])


def adverts_from_bytes(data: bytes) -> dict[int, Advert]:
    """The inverse of `adverts_to_bytes`."""
    adverts = [_advert(item) for item in _list(decode(data))]
    _require_order([advert.site for advert in adverts])
    return {advert.site: advert for advert in adverts}


def table_to_bytes(table: Mapping[int, bytes]) -> bytes:
    """Sealed shares or signatures."""
    return encode(_pairs(table))


def table_from_bytes(data: bytes, *, entry_bytes: int) -> Table:
    """The inverse of `table_to_bytes`; each entry has `entry_bytes` bytes."""
    return _table(decode(data), entry_bytes)


def sites_to_bytes(sites: tuple[int, ...]) -> bytes:
    """A list of sites."""
    return encode(sites)


def sites_from_bytes(data: bytes) -> tuple[int, ...]:
    """The inverse of `sites_to_bytes`."""
    sites = tuple(_place(item) for item in _list(decode(data)))
    _require_order(sites)
    return sites


def signature_from_bytes(data: bytes) -> bytes:
    """A signature that is sent alone, as it is."""
    if len(data) != SIGNATURE_BYTES:
        raise refusal(Reason.MALFORMED, "a signature has another length")
    return data


@dataclass(frozen=True)
class Shares:
    """What a site reveals of others: never both of the same site."""

    seeds: Table
    """Survivor -> share of its self seed."""
    keys: Table
    """Dropped site -> share of its mask key."""

    def to_bytes(self) -> bytes:
        """As it is sent."""
        return encode([_pairs(self.seeds), _pairs(self.keys)])

    @classmethod
    def from_bytes(cls, data: bytes) -> "Shares":
        """The inverse of `to_bytes`."""
        match decode(data):
            case (seeds, keys):
                return cls(_table(seeds, SHARE_BYTES), _table(keys, SHARE_BYTES))
        raise refusal(Reason.MALFORMED, "the message holds no two tables")


def _advert(item: Item) -> Advert:
    match item:
        case (int(site), bytes(sealing), bytes(masking), bytes(commitment), bytes(signature)) if (
            len(sealing) == len(masking) == len(commitment) == KEY_BYTES
            and len(signature) == SIGNATURE_BYTES
            and site >= 0
        ):
            return Advert(site, sealing, masking, commitment, signature)
    raise refusal(Reason.MALFORMED, "the message holds no advert")


def _pairs(table: Mapping[int, bytes]) -> list[tuple[int, bytes]]:
    return [(site, table[site]) for site in sorted(table)]


def _table(item: Item, entry_bytes: int) -> Table:
    table: Table = {}
    for pair in _list(item):
        match pair:
            case (int(site), bytes(entry)) if len(entry) == entry_bytes:
                table[_place(site)] = entry
            case _:
                raise refusal(Reason.MALFORMED, "the message holds no table of such entries")
    _require_order([_place(pair[0]) for pair in _list(item) if isinstance(pair, tuple)])
    return table


def _list(item: Item) -> tuple[Item, ...]:
    if not isinstance(item, tuple):
        raise refusal(Reason.MALFORMED, "the message holds no list")
    return item


def _place(item: Item) -> int:
    if not isinstance(item, int) or item < 0:
        raise refusal(Reason.MALFORMED, "the message names no place of a roster")
    return item


def _require_order(sites: list[int] | tuple[int, ...]) -> None:
    if any(one >= next_one for one, next_one in pairwise(sites)):
        raise refusal(Reason.MALFORMED, "sites are out of order or named twice")
