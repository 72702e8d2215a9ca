import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from secagg_round import members, terms

from common.secagg.abort import AbortError
from common.secagg.encoding import DEPTH, Item, decode, encode
from common.secagg.messages import (
    Advert,
    Shares,
    adverts_from_bytes,
    adverts_to_bytes,
    signature_from_bytes,
    sites_from_bytes,
    sites_to_bytes,
    table_from_bytes,
    table_to_bytes,
)
from common.secagg.shamir import PRIME, SHARE_BYTES, join, split
from common.secagg.site import advertise

integers = st.integers(-(2**127), 2**127 - 1)
leaves = integers | st.binary(max_size=20) | st.text(max_size=20)
items = st.recursive(leaves, lambda inner: st.lists(inner, max_size=4).map(tuple), max_leaves=12)
tables = st.dictionaries(st.integers(0, 99), st.binary(min_size=33, max_size=33), max_size=5)


@given(items)
def test_what_is_encoded_decodes(value: Item) -> None:
    try:
        assert decode(encode(value)) == value
    except AbortError:
        assert depth(value) > DEPTH


def depth(value: Item) -> int:
    return 1 + max(map(depth, value), default=0) if isinstance(value, tuple) else 0


@given(items, items)
def test_different_values_have_different_bytes(one: Item, other: Item) -> None:
    assert (encode(one) == encode(other)) == (one == other)


@given(st.binary(max_size=80))
def test_whatever_decodes_was_encoded_so(data: bytes) -> None:
    try:
        value = decode(data)
    except AbortError:
        return
    assert encode(value) == data


@given(items.map(encode), st.data())
def test_bytes_that_were_cut_or_go_on_are_refused(data: bytes, draw: st.DataObject) -> None:
    for wrong in (data[: draw.draw(st.integers(0, len(data) - 1))], data + b"\0"):
        with pytest.raises(AbortError, match="malformed"):
            decode(wrong)


def test_a_truth_value_and_a_number_beyond_16_bytes_have_no_encoding() -> None:
    with pytest.raises(TypeError):
        encode(True)
    with pytest.raises(OverflowError):
        encode(2**127)


def test_no_depth_exhausts_the_stack() -> None:
    data = b""
    for _ in range(50_000):
        data = b"l" + len(data).to_bytes(4, "little") + data
    with pytest.raises(AbortError, match="malformed"):
        decode(data)


@given(tables, st.dictionaries(st.integers(0, 99), st.binary(min_size=33, max_size=33), max_size=5))
def test_what_is_sent_is_received(seeds: dict[int, bytes], keys: dict[int, bytes]) -> None:
    assert table_from_bytes(table_to_bytes(seeds), entry_bytes=33) == seeds
    assert Shares.from_bytes(Shares(seeds, keys).to_bytes()) == Shares(seeds, keys)
    assert sites_from_bytes(sites_to_bytes(tuple(sorted(seeds)))) == tuple(sorted(seeds))
    assert signature_from_bytes(b"s" * 64) == b"s" * 64


def test_adverts_arrive_as_they_were_sent() -> None:
    adverts = {place: advertise(member, terms())[1] for place, member in members(3).items()}
    assert adverts_from_bytes(adverts_to_bytes(adverts)) == adverts
    assert Advert.from_bytes(adverts[1].to_bytes()) == adverts[1]


ADVERT = (0, b"c" * 32, b"s" * 32, b"b" * 32, b"g" * 64)


@pytest.mark.parametrize(
    "item",
    [
        (),
        ADVERT[:4],
        (*ADVERT, 0),
        (-1, *ADVERT[1:]),
        ("0", *ADVERT[1:]),
        (0, b"c" * 31, *ADVERT[2:]),
        (*ADVERT[:4], b"g" * 63),
        7,
        b"",
    ],
)
def test_what_is_no_advert_is_refused(item: Item) -> None:
    with pytest.raises(AbortError, match="malformed"):
        Advert.from_bytes(encode(item))
    with pytest.raises(AbortError, match="malformed"):
        adverts_from_bytes(encode([item]))


@pytest.mark.parametrize(
    "item",
    [
        7,
        [7],
        [(1, b"x" * 32)],
        [(1, b"x" * 33, 1)],
        [(b"x" * 33, 1)],
        [(-1, b"x" * 33)],
        [(2, b"x" * 33), (1, b"x" * 33)],
        [(1, b"x" * 33), (1, b"x" * 33)],
    ],
)
def test_what_is_no_table_is_refused(item: Item) -> None:
    with pytest.raises(AbortError, match="malformed"):
        table_from_bytes(encode(item), entry_bytes=33)
    for both in ([item, []], [[], item], [item], [[], [], []]):
        with pytest.raises(AbortError, match="malformed"):
            Shares.from_bytes(encode(both))


@pytest.mark.parametrize("item", [7, [-1], ["0"], [1, 1], [2, 1], [[1]]])
def test_what_is_no_list_of_sites_is_refused(item: Item) -> None:
    with pytest.raises(AbortError, match="malformed"):
        sites_from_bytes(encode(item))


def test_a_signature_of_another_length_is_refused() -> None:
    with pytest.raises(AbortError, match="malformed"):
        signature_from_bytes(b"s" * 63)


# --- shares of secrets --------------------------------------------------------------------------------------


@given(
    st.binary(min_size=32, max_size=32),
    st.integers(2, 8),
    st.integers(0, 5),
    st.randoms(use_true_random=False),
)
def test_any_threshold_of_shares_gives_the_secret(
    secret: bytes, threshold: int, more: int, random: object
) -> None:
    places = list(range(1, threshold + more + 1))
    shares = list(split(secret, threshold=threshold, places=places).items())
    random.shuffle(shares)  # type: ignore[attr-defined]  # hypothesis types it as object
    assert join(dict(shares[:threshold])) == secret


def test_one_share_less_is_as_likely_under_every_secret() -> None:
    """For any wrong secret there is a share that would give it: the shares held say nothing."""
    shares = split(b"s" * 32, threshold=3, places=[1, 2, 3])
    held = {1: shares[1], 2: shares[2]}
    for guess in (bytes(32), b"\xff" * 32):
        # The parabola through the guess at 0 and the two held points has a value at 3; it gives the guess.
        value = sum(
            int.from_bytes(y, "big") * weight
            for y, weight in zip((guess, held[1], held[2]), (1, -3, 3), strict=True)
        )
        assert join(held | {3: (value % PRIME).to_bytes(SHARE_BYTES, "big")}) == guess


@pytest.mark.parametrize("share", [b"\xff" * 33, b"s" * 32, PRIME.to_bytes(33, "big")])
def test_a_share_outside_the_field_is_refused(share: bytes) -> None:
    with pytest.raises(AbortError, match="do-not-match"):
        join({1: bytes(33), 2: share})


def test_shares_of_nothing_are_refused() -> None:
    with pytest.raises(AbortError, match="no secret"):
        join({1: (2**256 + 5).to_bytes(33, "big"), 2: (2**256 + 5).to_bytes(33, "big")})


def test_coefficients_are_uniform() -> None:
    """The first share of zero under threshold 2 is the coefficient; its top byte within 6 sigma of even."""
    draws = 4096
    tops = [split(bytes(32), threshold=2, places=[1, 2])[1][1] for _ in range(draws)]
    counts = np.bincount(tops, minlength=256)
    expected = draws / 256
    assert abs(((counts - expected) ** 2 / expected).sum() - 255) < 6 * np.sqrt(2 * 255)
