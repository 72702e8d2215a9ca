"""Secrets in shares: any `threshold` of them give a secret back, fewer say nothing about it.

Source: Shamir 1979, doi:10.1145/359168.359176, over the field of the smallest prime above 2^256.
"""

import os
from collections.abc import Callable, Mapping, Sequence

from common.secagg.abort import Reason, refusal

PRIME = (1 << 256) + 297
SECRET_BYTES = 32
SHARE_BYTES = 33

RandomBytes = Callable[[int], bytes]

_WIDE_BYTES = 48
"""Drawn per coefficient: 128 bits more than the field, so that the remainder's bias is below 2^-127."""


def split(
    secret: bytes, *, threshold: int, places: Sequence[int], random: RandomBytes = os.urandom
) -> dict[int, bytes]:
    """Place -> its share of `secret` (32 bytes); `places` are distinct and positive."""
    assert len(secret) == SECRET_BYTES
    assert 1 < threshold <= len(places) == len(set(places))
    assert min(places) > 0
    coefficients = [int.from_bytes(random(_WIDE_BYTES), "big") % PRIME for _ in range(threshold - 1)]
    coefficients.append(int.from_bytes(secret, "big"))
    return {place: _value_at(place, coefficients).to_bytes(SHARE_BYTES, "big") for place in places}


def join(shares: Mapping[int, bytes]) -> bytes:
    """The secret of exactly the threshold's number of `shares` (place -> share).

    Raises:
        AbortError: they are shares of nothing.
    """
    points = {place: int.from_bytes(share, "big") for place, share in shares.items()}
    if any(len(share) != SHARE_BYTES for share in shares.values()) or max(points.values()) >= PRIME:
        raise refusal(Reason.CORRUPT_SHARE, "a share lies outside the field")
    weights = _weights_at_zero(list(points))
    secret = sum(weights[place] * value for place, value in points.items()) % PRIME
    if secret >> (8 * SECRET_BYTES):
        raise refusal(Reason.CORRUPT_SHARE, "the shares belong to no secret")
    return secret.to_bytes(SECRET_BYTES, "big")


def _value_at(place: int, coefficients: Sequence[int]) -> int:
    """Horner; the highest power comes first."""
    value = 0
    for coefficient in coefficients:
        value = (value * place + coefficient) % PRIME
    return value


def _weights_at_zero(places: Sequence[int]) -> dict[int, int]:
    """Lagrange: place -> what its share counts in the value at zero."""
    weights = {}
    for place in places:
        above = below = 1
        for other in places:
            if other != place:
                above = above * other % PRIME
                below = below * (other - place) % PRIME
        weights[place] = above * pow(below, -1, PRIME) % PRIME
    return weights
