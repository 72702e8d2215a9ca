"""Messages that nobody honest would send: each ends in a clean stop, and leaves the receiver as it was."""

import os
import random
from collections.abc import Callable
from copy import deepcopy

import numpy as np
import pytest
from secagg_round import members, terms, update

from common.secagg import hub, site
from common.secagg.abort import AbortError, Reason
from common.secagg.encoding import Item, decode, encode
from common.secagg.keys import SIGNATURE_BYTES
from common.secagg.messages import (
    SEALED_BYTES,
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
from common.update import Planes

MESSAGES = int(os.environ.get("FEDVLP_FUZZ_MESSAGES", "50000"))
"""In all; a longer run is asked for by the environment."""

Receive = Callable[[bytes], object]

JUNK: tuple[Item, ...] = (
    0,
    -1,
    2**64,
    2**126,
    "",
    "advert",
    b"",
    bytes(32),
    b"\xff" * 64,
    (),
    ((),),
    (0, b""),
)


class Victim:
    """A round of three sites stopped at every stage, and every message that a party could receive there."""

    def __init__(self) -> None:
        three, said = members(3), terms(coordinates=4)
        opened = {place: site.advertise(member, said) for place, member in three.items()}
        adverts = {place: advert for place, (_, advert) in opened.items()}
        shared = {place: site.share(three[place], stage, adverts) for place, (stage, _) in opened.items()}
        tables = {
            place: {sender: sealed[place] for sender, (_, sealed) in shared.items() if sender != place}
            for place in three
        }
        sent = {place: update(place, said)[1:] for place in three}
        masked = {
            place: site.mask(three[place], stage, tables[place], *sent[place])
            for place, (stage, _) in shared.items()
        }
        consented = {place: site.consent(three[place], stage, (0, 1, 2)) for place, stage in masked.items()}
        signatures = {place: signature for place, (_, signature) in consented.items()}
        revealed = site.reveal(three[0], consented[0][0], signatures)

        advertising = hub.Advertising(said, three[0].identities)
        sharing = hub.Advertising(said, three[0].identities, adverts).close()
        summing = hub.Sharing(
            sharing.cohort, sharing.identities, {place: sealed for place, (_, sealed) in shared.items()}
        ).close()
        full = deepcopy(summing)
        for place, (planes, lanes) in sent.items():
            full.take(place, planes, lanes)
        consenting = full.close()
        unmasking = hub.Consenting(full, consenting.survivors, signatures).close()
        self.summing = summing

        self.receivers: dict[str, tuple[Receive, bytes]] = {
            "site: adverts": (
                lambda data: site.share(three[0], opened[0][0], adverts_from_bytes(data)),
                adverts_to_bytes(adverts),
            ),
            "site: sealed shares": (
                lambda data: site.mask(
                    three[0],
                    shared[0][0],
                    table_from_bytes(data, entry_bytes=SEALED_BYTES),
                    *update(0, said)[1:],
                ),
                table_to_bytes(tables[0]),
            ),
            "site: survivors": (
                lambda data: site.consent(three[0], masked[0], sites_from_bytes(data)),
                sites_to_bytes((0, 1, 2)),
            ),
            "site: signatures": (
                lambda data: site.reveal(
                    three[0], consented[0][0], table_from_bytes(data, entry_bytes=SIGNATURE_BYTES)
                ),
                table_to_bytes(signatures),
            ),
            "hub: advert": (lambda data: advertising.take(0, Advert.from_bytes(data)), adverts[0].to_bytes()),
            "hub: sealed shares": (
                lambda data: deepcopy(sharing).take(0, table_from_bytes(data, entry_bytes=SEALED_BYTES)),
                table_to_bytes(shared[0][1]),
            ),
            "hub: signature": (lambda data: consenting.take(0, signature_from_bytes(data)), signatures[0]),
            "hub: revealed shares": (
                lambda data: deepcopy(unmasking).take(0, Shares.from_bytes(data)),
                revealed.to_bytes(),
            ),
        }


BLIND = {"hub: sealed shares", "hub: revealed shares"}
"""Only the receiver of a sealed share can judge it, and a revealed share is judged when it is joined."""


@pytest.fixture(scope="module")
def victim() -> Victim:
    return Victim()


def malformed(message: bytes, chance: random.Random, others: list[bytes]) -> bytes:
    """Something near `message`: bits, lengths, pieces or whole items are wrong."""
    data = bytearray(message)
    match chance.randrange(7):
        case 0:
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        case 1:
            del data[chance.randrange(len(data)) :]
        case 2:
            data += chance.randbytes(chance.randrange(1, 40))
        case 3:
            begin = chance.randrange(len(data))
            data[begin : begin + chance.randrange(1, 60)] = chance.randbytes(chance.randrange(60))
        case 4:
            return chance.choice(others)
        case 5:
            return chance.randbytes(chance.randrange(200))
        case _:
            try:
                return encode(spoilt(decode(message), chance))
            except AbortError:
                data.reverse()
    return bytes(data)


def spoilt(value: Item, chance: random.Random) -> Item:
    """`value` with one item replaced, left out, doubled or moved, at some depth."""
    if not isinstance(value, tuple) or not value or chance.random() < 0.2:
        return chance.choice(JUNK)
    items, place = list(value), chance.randrange(len(value))
    match chance.randrange(5):
        case 0:
            del items[place]
        case 1:
            items.insert(place, items[place])
        case 2:
            chance.shuffle(items)
        case _:
            items[place] = spoilt(items[place], chance)
    return tuple(items)


@pytest.mark.parametrize("name", list(Victim().receivers))
def test_a_malformed_message_ends_in_a_clean_stop(victim: Victim, name: str) -> None:
    chance = random.Random(name)
    receive, good = victim.receivers[name]
    others = [message for _, message in victim.receivers.values() if message != good]
    stopped: list[str] = []
    for _ in range(MESSAGES // len(victim.receivers)):
        message = malformed(good, chance, others)
        if message == good:
            continue
        try:
            receive(message)
        except AbortError as error:
            stopped.append(error.outward)
        else:
            assert name in BLIND, message.hex()
    assert set(stopped) <= {reason.value for reason in Reason}
    assert len(stopped) > 0.5 * MESSAGES // len(victim.receivers)
    receive(good)  # nothing that was refused left a trace


@pytest.mark.parametrize("seed", range(20))
def test_arrays_of_any_kind_end_in_a_clean_stop_or_in_the_sum(victim: Victim, seed: int) -> None:
    chance = np.random.default_rng(seed)
    dtypes = (np.uint8, np.uint16, np.uint32, np.int16, np.float32, np.uint64)
    for _ in range(50):
        shapes = [tuple(chance.integers(0, 6, chance.integers(0, 3))) for _ in range(3)]
        low, high, lanes = (np.zeros(shape, chance.choice(dtypes)) for shape in shapes)
        stage = deepcopy(victim.summing)
        try:
            stage.take(0, Planes(low, high if chance.random() < 0.8 else None), lanes)
        except AbortError:
            assert not stage.added
        else:
            assert (low.dtype, low.shape, lanes.dtype) == (np.uint16, (4,), np.uint64)
