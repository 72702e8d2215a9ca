"""What a hub that lies can try, and the reason for which a site stops."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from secagg_round import THIN, WIDE, members, terms, update

from common.secagg.abort import AbortError, Reason
from common.secagg.keys import Secret, identity_of, sign
from common.secagg.messages import Advert, Table
from common.secagg.shamir import SHARE_BYTES, join
from common.secagg.site import (
    Advertised,
    Consented,
    Masked,
    Member,
    Shared,
    advertise,
    consent,
    mask,
    reveal,
    share,
)
from common.secagg.terms import Terms
from common.secagg.transcript import advert_statement, commitment_to
from common.update import Planes


@contextmanager
def stops(reason: Reason) -> Iterator[None]:
    with pytest.raises(AbortError) as caught:
        yield
    assert caught.value.reason == reason
    assert "\n" not in str(caught.value)


@dataclass
class Round:
    """Honest sites, whose stages the hub of a test holds in its hands."""

    members: dict[int, Member]
    terms: Terms
    advertised: dict[int, Advertised]
    adverts: dict[int, Advert]

    @classmethod
    def opened(cls, sites: int = 5, **changes: Any) -> "Round":
        said, five = terms(**changes), members(sites)
        opened = {place: advertise(member, said) for place, member in five.items()}
        stages = {place: stage for place, (stage, _) in opened.items()}
        return cls(five, said, stages, {place: advert for place, (_, advert) in opened.items()})

    def share(self, place: int, adverts: dict[int, Advert] | None = None) -> tuple[Shared, Table]:
        return share(self.members[place], self.advertised[place], adverts or self.adverts)

    def shared(self) -> tuple[dict[int, Shared], dict[int, Table]]:
        """All stages, and for each site what was sealed for it."""
        done = {place: self.share(place) for place in self.members}
        tables = {
            place: {sender: sealed[place] for sender, (_, sealed) in done.items() if sender != place}
            for place in self.members
        }
        return {place: stage for place, (stage, _) in done.items()}, tables

    def mask(self, place: int, stage: Shared, table: Table) -> Masked:
        _, planes, lanes = update(place, self.terms)
        return mask(self.members[place], stage, table, planes, lanes)

    def masked(self) -> dict[int, Masked]:
        shared, tables = self.shared()
        return {place: self.mask(place, shared[place], tables[place]) for place in self.members}

    def consented(self, survivors: tuple[int, ...]) -> tuple[dict[int, Consented], Table]:
        masked = self.masked()
        done = {place: consent(self.members[place], masked[place], survivors) for place in survivors}
        stages = {place: stage for place, (stage, _) in done.items()}
        return stages, {place: signature for place, (_, signature) in done.items()}


def sybil(said: Terms, place: int, signing_key: Secret) -> Advert:
    """An advert that the hub made up, well signed by a key of its own."""
    body = (place, b"c" * 32, b"s" * 32, commitment_to(said, place, b"b" * 32))
    return Advert(*body, sign(signing_key, advert_statement(said, *body)))


# --- advertising --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("consumed", [1, 2, 9])
def test_an_attempt_is_consumed_once(consumed: int) -> None:
    with stops(Reason.REPLAYED):
        advertise(members(3)[0], terms(), consumed=consumed)
    advertise(members(3)[0], terms(attempt=consumed + 1), consumed=consumed)


def test_keys_are_fresh_in_every_round() -> None:
    first, second = (advertise(members(3)[0], terms())[1] for _ in range(2))
    assert not {first.sealing_key, first.mask_key, first.commitment} & {
        second.sealing_key,
        second.mask_key,
        second.commitment,
    }


# --- the cohort ---------------------------------------------------------------------------------------------


def test_a_key_that_the_hub_put_in_is_refused() -> None:
    opened = Round.opened()
    for changed in (
        replace(opened.adverts[1], sealing_key=b"k" * 32),
        replace(opened.adverts[1], mask_key=b"k" * 32),
        replace(opened.adverts[1], commitment=b"k" * 32),
        sybil(opened.terms, 1, Secret(b"the hub's own signing key......!")),
    ):
        with stops(Reason.SIGNATURE):
            opened.share(0, opened.adverts | {1: changed})


def test_a_site_outside_the_roster_stays_outside() -> None:
    opened = Round.opened()
    with stops(Reason.STRANGER):
        opened.share(0, opened.adverts | {9: sybil(opened.terms, 9, Secret(b"x" * 32))})


def test_an_advert_counts_for_its_own_site_only() -> None:
    opened = Round.opened()
    with stops(Reason.STRANGER):
        opened.share(0, opened.adverts | {1: opened.adverts[2]})


@pytest.mark.parametrize("size", [1, 2])
def test_a_cohort_of_one_or_two_is_refused(size: int) -> None:
    opened = Round.opened()
    with stops(Reason.COHORT):
        opened.share(0, {place: opened.adverts[place] for place in range(size)})


def test_a_roster_may_ask_for_more_sites() -> None:
    opened = Round.opened(min_sites=5)
    opened.share(0)
    with stops(Reason.COHORT):
        opened.share(0, {place: opened.adverts[place] for place in range(4)})


def test_a_site_sees_to_it_that_its_own_advert_is_there_unchanged() -> None:
    opened = Round.opened()
    others = {place: advert for place, advert in opened.adverts.items() if place}
    again = advertise(opened.members[0], opened.terms)[1]
    for adverts in (others, others | {0: again}):
        with stops(Reason.OWN_ENTRY):
            opened.share(0, adverts)


@pytest.mark.parametrize(
    "changes",
    [
        {"round": 2},
        {"attempt": 2},
        {"run": b"R" * 32},
        {"roster": b"O" * 32},
        {"model": b"M" * 32},
        {"bounds": b"C" * 32},
        {"levels": 1000},
        {"coordinates": 17},
        {"lanes": 2},
        {"min_sites": 4},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_sites_that_were_told_different_things_never_share(changes: dict[str, Any]) -> None:
    """Replay of an older round's keys, another model (Pasquini et al. 2022), another clip table, ..."""
    opened, other = Round.opened(), Round.opened(**changes)
    with stops(Reason.SIGNATURE):
        opened.share(0, opened.adverts | {1: other.adverts[1]})


def test_a_key_that_appears_twice_is_refused() -> None:
    opened = Round.opened()
    one = opened.advertised[1]
    body = (1, one.advert.sealing_key, one.advert.sealing_key, one.advert.commitment)
    twice = Advert(*body, sign(opened.members[1].signing_key, advert_statement(opened.terms, *body)))
    with stops(Reason.KEY):
        opened.share(0, opened.adverts | {1: twice})


def test_more_sites_than_a_word_can_sum_are_refused() -> None:
    """Levels for 20 sites hold 20; the bound is checked with the sites that came."""
    opened = Round.opened(5, profile=THIN, levels=2**15 // 4)
    with stops(Reason.WRAP):
        opened.share(0)


# --- shares -------------------------------------------------------------------------------------------------


def swapped(table: Table) -> Table:
    return table | {1: table[2], 2: table[1]}


def flipped(table: Table) -> Table:
    return table | {1: bytes([table[1][0] ^ 1]) + table[1][1:]}


@pytest.mark.parametrize("change", [swapped, flipped])
def test_a_share_that_was_tampered_with_is_refused(change: Callable[[Table], Table]) -> None:
    opened = Round.opened()
    shared, tables = opened.shared()
    with stops(Reason.SHARE):
        opened.mask(0, shared[0], change(tables[0]))


def test_too_few_senders_are_refused_and_so_is_a_sender_outside_the_cohort() -> None:
    opened = Round.opened()
    shared, tables = opened.shared()
    with stops(Reason.THRESHOLD):
        opened.mask(0, shared[0], {place: tables[0][place] for place in (1, 2)})
    with stops(Reason.STRANGER):
        opened.mask(0, shared[0], tables[0] | {9: tables[0][1]})
    with stops(Reason.STRANGER):
        opened.mask(0, shared[0], tables[0] | {0: tables[0][1]})


def test_sites_that_were_shown_different_cohorts_cannot_read_each_others_shares() -> None:
    opened = Round.opened(6)
    shorter = {place: opened.adverts[place] for place in range(5)}
    stage, _ = opened.share(0, shorter)
    others = {place: opened.share(place)[1][0] for place in range(1, 5)}
    with stops(Reason.SHARE):
        opened.mask(0, stage, others)


@pytest.mark.parametrize(("coordinates", "profile", "lanes"), [(15, WIDE, 3), (16, THIN, 3), (16, WIDE, 2)])
def test_an_update_of_another_shape_is_not_masked(coordinates: int, profile: Any, lanes: int) -> None:
    opened = Round.opened()
    shared, tables = opened.shared()
    _, planes, _ = update(0, terms(coordinates=coordinates, profile=profile))
    before = planes.integers().copy()
    with stops(Reason.VECTOR):
        mask(opened.members[0], shared[0], tables[0], planes, np.zeros(lanes, np.uint64))
    assert (planes.integers() == before).all()


def test_an_unusable_mask_key_stops_a_site_before_anything_is_masked() -> None:
    opened = Round.opened()
    body = (1, opened.adverts[1].sealing_key, bytes(32), opened.adverts[1].commitment)
    signed = Advert(*body, sign(opened.members[1].signing_key, advert_statement(opened.terms, *body)))
    opened.adverts[1] = signed
    opened.advertised[1] = replace(opened.advertised[1], advert=signed)
    shared, tables = opened.shared()
    _, planes, lanes = update(0, opened.terms)
    before = Planes(planes.low.copy(), None if planes.high is None else planes.high.copy())
    with stops(Reason.KEY):
        mask(opened.members[0], shared[0], tables[0], planes, lanes)
    assert (planes.low == before.low).all()


# --- consent and unmasking ----------------------------------------------------------------------------------


def test_a_sum_over_fewer_sites_than_agreed_is_not_signed_for_though_the_threshold_is_there() -> None:
    """Four of five would do for the secrets, but noise, or a roster, asked for all five."""
    masked = Round.opened(min_sites=5).masked()
    with stops(Reason.COHORT):
        consent(members(5)[0], masked[0], (0, 1, 2, 3))
    consent(members(5)[0], masked[0], (0, 1, 2, 3, 4))


def test_survivors_are_enough_of_the_senders_with_this_site_in_order() -> None:
    opened = Round.opened()
    stage, member = opened.masked()[0], opened.members[0]
    with stops(Reason.THRESHOLD):
        consent(member, stage, (0, 1, 2))
    for survivors in ((1, 2, 3, 4), (0, 1, 2, 9)):
        with stops(Reason.STRANGER):
            consent(member, stage, survivors)
    for survivors in ((0, 1, 1, 2, 3), (3, 2, 1, 0)):
        with stops(Reason.MALFORMED):
            consent(member, stage, survivors)


def test_a_second_sum_on_one_model_must_be_over_the_same_sites() -> None:
    opened = Round.opened()
    stage, member = opened.masked()[0], opened.members[0]
    before = member.identities_of((0, 1, 2, 3))
    consent(member, stage, (0, 1, 2, 3), unmasked_before=before)
    stranger = identity_of(Secret(b"s" * 32))
    for others in (member.identities_of((0, 1, 2, 3, 4)), before[:3], (*before[:3], stranger)):
        with stops(Reason.SECOND_COHORT):
            consent(member, stage, (0, 1, 2, 3), unmasked_before=others)


def test_a_site_reveals_nothing_before_enough_others_signed_what_it_signed() -> None:
    opened = Round.opened()
    stages, signatures = opened.consented((0, 1, 2, 3, 4))
    with stops(Reason.THRESHOLD):
        reveal(opened.members[0], stages[0], {place: signatures[place] for place in (0, 1, 2)})
    with stops(Reason.STRANGER):
        reveal(opened.members[0], stages[0], signatures | {9: signatures[1]})
    with stops(Reason.SIGNATURE):
        reveal(opened.members[0], stages[0], signatures | {1: signatures[2]})


def test_a_hub_that_names_different_survivors_to_different_sites_gets_nothing() -> None:
    """It wants the self seed of site 4 from some and the mask key of site 4 from others."""
    opened = Round.opened()
    masked, lists = (
        opened.masked(),
        {place: (0, 1, 2, 3) if place < 2 else (0, 1, 2, 3, 4) for place in range(5)},
    )
    lists[4] = (0, 1, 2, 3, 4)
    done = {place: consent(opened.members[place], masked[place], lists[place]) for place in range(5)}
    signatures = {place: signature for place, (_, signature) in done.items()}
    for place in range(5):
        for size in (4, 5):
            for chosen in combinations(signatures, size):
                with pytest.raises(AbortError):
                    reveal(
                        opened.members[place], done[place][0], {other: signatures[other] for other in chosen}
                    )


@pytest.mark.parametrize("survivors", [(0, 1, 2, 3, 4), (0, 1, 2, 3), (0, 2, 3, 4)])
def test_never_both_secrets_of_one_site(survivors: tuple[int, ...]) -> None:
    opened = Round.opened()
    stages, signatures = opened.consented(survivors)
    for place in survivors:
        shares = reveal(opened.members[place], stages[place], signatures)
        assert tuple(shares.seeds) == survivors
        assert set(shares.keys) == set(range(5)) - set(survivors)


def test_the_shares_of_a_threshold_of_sites_give_the_secret_and_fewer_do_not() -> None:
    opened = Round.opened()
    masked = opened.masked()
    seed = opened.advertised[2].self_seed.expose()
    held = {place + 1: stage.shares[2].expose()[:SHARE_BYTES] for place, stage in masked.items()}
    for chosen in combinations(held.items(), 4):
        assert join(dict(chosen)) == seed
    for chosen in combinations(held.items(), 3):
        assert join(dict(chosen)) != seed


# --- secrets ------------------------------------------------------------------------------------------------


def test_wiping_a_stage_overwrites_its_secrets() -> None:
    opened = Round.opened()
    shared, tables = opened.shared()
    masked = opened.mask(0, shared[0], tables[0])
    consented, _ = consent(opened.members[0], masked, (0, 1, 2, 3))
    secrets = [opened.advertised[0].self_seed, opened.advertised[0].mask_secret, *masked.shares.values()]
    assert all(any(secret.expose()) for secret in secrets)
    shared[0].wipe()
    consented.wipe()
    assert not any(any(secret.expose()) for secret in secrets)


def test_no_secret_shows_in_the_words_for_a_log() -> None:
    stage = Round.opened().advertised[0]
    assert stage.self_seed.expose().hex() not in repr(stage)
    assert repr(stage.self_seed.expose()) not in repr(stage)
    assert "Secret(...)" in repr(stage)


def test_a_member_must_hold_the_key_of_its_place() -> None:
    three = members(3)
    with pytest.raises(AssertionError):
        Member(0, three[1].signing_key, three[0].identities)
    assert identity_of(three[0].signing_key) == three[0].identities[0]
