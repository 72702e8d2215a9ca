"""A round of secure aggregation to test with: members, terms, random updates, a hub that passes messages."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from common.secagg.hub import Advertising
from common.secagg.keys import Secret, identity_of
from common.secagg.messages import table_to_bytes
from common.secagg.site import Lanes, Masked, Member, advertise, consent, mask, reveal, share
from common.secagg.terms import Terms
from common.update import Planes, Profile, pack

WIDE = Profile.named("wide", sites=256)
THIN = Profile.named("thin", sites=20)
LANES = 3
NEVER = 5
"""A site that never drops out; 0..4 are the five stages at which it may."""


def members(count: int) -> dict[int, Member]:
    """Sites 0..count - 1, with identities that depend on nothing but their place."""
    keys = {place: hashlib.sha256(f"identity {place}".encode()).digest() for place in range(count)}
    identities = {place: identity_of(Secret(key)) for place, key in keys.items()}
    return {place: Member(place, Secret(key), identities) for place, key in keys.items()}


def terms(*, coordinates: int = 16, profile: Profile = WIDE, **changes: Any) -> Terms:
    """Round 1, attempt 1."""
    known = Terms(
        run=b"r" * 32,
        round=1,
        attempt=1,
        roster=b"o" * 32,
        model=b"m" * 32,
        bounds=b"c" * 32,
        coordinates=coordinates,
        lanes=LANES,
        word_bits=profile.word_bits,
        levels=profile.levels,
        min_sites=3,
    )
    return replace(known, **changes)


def update(place: int, terms: Terms) -> tuple[np.ndarray, Planes, Lanes]:
    """The update of one site: as integers, packed, and its lanes."""
    chance = np.random.default_rng(place)
    steps = chance.integers(-terms.levels, terms.levels + 1, terms.coordinates).astype(np.int16)
    lanes = chance.integers(0, 2**40, terms.lanes).astype(np.uint64)
    return steps, pack(steps.copy(), terms.profile), lanes


def words_of(planes: Planes) -> np.ndarray:
    """What the planes hold, without signs: 24 bits in uint32, or 16 in uint16."""
    if planes.high is None:
        return planes.low
    return planes.high.astype(np.uint32) << np.uint32(16) | planes.low


@dataclass
class Outcome:
    """What a finished round leaves."""

    total: Planes
    lanes: Lanes
    survivors: tuple[int, ...]
    sent: dict[int, tuple[Planes, Lanes]] = field(default_factory=dict)
    """What the hub saw of each survivor."""

    def exact(self, terms: Terms) -> tuple[np.ndarray, np.ndarray]:
        """The sums that the survivors' updates have, by 64-bit arithmetic without masks."""
        updates = [update(place, terms) for place in self.survivors]
        words = np.sum([steps for steps, _, _ in updates], axis=0, dtype=np.int64)
        return words, np.sum([lanes for _, _, lanes in updates], axis=0, dtype=np.uint64)


def play(
    members: Mapping[int, Member],
    terms: Terms,
    *,
    drops: Mapping[int, int] | None = None,
    random: Callable[[int], bytes] | None = None,
    record: Callable[[str, int, bytes], None] = lambda *_: None,
) -> Outcome:
    """An honest hub and honest sites, of which some stop answering.

    Args:
        members: who advertises.
        terms: of the round.
        drops: place -> the stage, 0..4, at which it no longer answers.
        random: source of secrets; the operating system's when None.
        record: told of every message of a site: its kind, the site, its bytes.

    Raises:
        AbortError: too few sites are left.
    """
    drops = drops or {}
    source = {} if random is None else {"random": random}

    def alive(place: int, stage: int) -> bool:
        return drops.get(place, NEVER) > stage

    identities = next(iter(members.values())).identities
    advertising, stages = Advertising(terms, identities), {}
    for place, member in members.items():
        if alive(place, 0):
            stages[place], advert = advertise(member, terms, **source)
            advertising.take(place, advert)
            record("advert", place, advert.to_bytes())
    sharing = advertising.close()

    shared = {}
    for place in sharing.cohort.sites:
        if alive(place, 1):
            shared[place], sealed = share(members[place], stages[place], advertising.adverts, **source)
            sharing.take(place, sealed)
            record("sealed shares", place, table_to_bytes(sealed))
    summing = sharing.close()

    masked: dict[int, Masked] = {}
    sent = {}
    for place in summing.senders:
        if alive(place, 2):
            _, planes, lanes = update(place, terms)
            masked[place] = mask(members[place], shared[place], sharing.for_site(place), planes, lanes)
            summing.take(place, planes, lanes)
            sent[place] = (planes, lanes)
            record("masked words", place, words_of(planes).tobytes())
            record("masked lanes", place, lanes.tobytes())
    consenting = summing.close()

    consented = {}
    for place in consenting.survivors:
        if alive(place, 3):
            consented[place], signature = consent(members[place], masked[place], consenting.survivors)
            consenting.take(place, signature)
            record("signature", place, signature)
    unmasking = consenting.close()

    for place in unmasking.signers:
        if alive(place, 4):
            shares = reveal(members[place], consented[place], consenting.signatures)
            unmasking.take(place, shares)
            record("revealed shares", place, shares.to_bytes())
    total, lanes = unmasking.close()
    return Outcome(total, lanes, consenting.survivors, sent)


def counting(seed: str = "") -> Callable[[int], bytes]:
    """Random bytes that are the same every time: SHA-256 of a counter."""
    drawn = 0

    def draw(size: int) -> bytes:
        nonlocal drawn
        stream = b""
        while len(stream) < size:
            stream += hashlib.sha256(f"{seed}/{drawn}".encode()).digest()
            drawn += 1
        return stream[:size]

    return draw
