from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
from secagg_round import members, play, terms, update

from common.secagg import hub, site
from common.secagg.abort import AbortError, Reason
from common.secagg.hub import Advertising, Consenting, Sharing, Summing, Unmasking
from common.secagg.keys import sign
from common.secagg.messages import Advert, Shares
from common.secagg.transcript import advert_statement
from common.update import Planes

FIVE = members(5)


class Stages:
    """An honest round of five sites, kept at every stage; the last site sends nothing after its shares."""

    def __init__(self) -> None:
        said = terms()
        self.advertising = Advertising(said, FIVE[0].identities)
        opened = {place: site.advertise(member, said) for place, member in FIVE.items()}
        self.adverts = {place: advert for place, (_, advert) in opened.items()}
        for place, advert in self.adverts.items():
            self.advertising.take(place, advert)
        self.sharing: Sharing = self.advertising.close()
        shared = {place: site.share(FIVE[place], stage, self.adverts) for place, (stage, _) in opened.items()}
        self.sealed = {place: sealed for place, (_, sealed) in shared.items()}
        for place, sealed in self.sealed.items():
            self.sharing.take(place, sealed)
        self.summing: Summing = self.sharing.close()
        masked, self.updates = {}, {}
        for place in range(4):
            _, planes, lanes = update(place, said)
            masked[place] = site.mask(
                FIVE[place], shared[place][0], self.sharing.for_site(place), planes, lanes
            )
            self.updates[place] = (planes, lanes)
        summing = deepcopy(self.summing)
        for place, sent in self.updates.items():
            summing.take(place, *sent)
        self.consenting: Consenting = summing.close()
        consented = {place: site.consent(FIVE[place], masked[place], (0, 1, 2, 3)) for place in range(4)}
        self.signatures = {place: signature for place, (_, signature) in consented.items()}
        consenting = deepcopy(self.consenting)
        for place, signature in self.signatures.items():
            consenting.take(place, signature)
        self.unmasking: Unmasking = consenting.close()
        self.shares = {
            place: site.reveal(FIVE[place], consented[place][0], self.signatures) for place in range(4)
        }


@pytest.fixture(scope="module")
def kept() -> Stages:
    return Stages()


@pytest.fixture
def stages(kept: Stages) -> Stages:
    return deepcopy(kept)


def stops(reason: Reason) -> "pytest.RaisesExc[AbortError]":
    return pytest.raises(AbortError, match=f"\\({reason}\\)")


def test_a_second_message_of_a_site_is_refused_at_every_stage(stages: Stages) -> None:
    summing, consenting, unmasking = stages.summing, stages.consenting, stages.unmasking
    summing.take(0, *stages.updates[0])
    consenting.take(0, stages.signatures[0])
    unmasking.take(0, stages.shares[0])
    before = summing.total.integers().copy()
    for again in (
        lambda: stages.advertising.take(0, stages.adverts[0]),
        lambda: stages.sharing.take(0, stages.sealed[0]),
        lambda: summing.take(0, *stages.updates[0]),
        lambda: consenting.take(0, stages.signatures[0]),
        lambda: unmasking.take(0, stages.shares[0]),
    ):
        with stops(Reason.STRANGER):
            again()
    assert (summing.total.integers() == before).all()


def test_a_site_that_is_not_expected_is_refused_at_every_stage(stages: Stages) -> None:
    with stops(Reason.STRANGER):
        stages.advertising.take(9, stages.adverts[0])
    with stops(Reason.STRANGER):
        stages.sharing.take(9, stages.sealed[0])
    with stops(Reason.STRANGER):
        stages.summing.take(9, *stages.updates[0])
    with stops(Reason.STRANGER):
        stages.consenting.take(4, stages.signatures[0])
    with stops(Reason.STRANGER):
        stages.unmasking.take(4, stages.shares[0])


def test_an_advert_that_is_not_the_sites_own_is_refused(stages: Stages) -> None:
    fresh = Advertising(terms(), FIVE[0].identities)
    with stops(Reason.SIGNATURE):
        fresh.take(0, replace(stages.adverts[0], mask_key=b"k" * 32))
    with stops(Reason.STRANGER):
        fresh.take(0, stages.adverts[1])


def test_shares_for_others_than_the_cohort_are_refused(stages: Stages) -> None:
    fresh = replace(stages.sharing, sealed={})
    sealed = stages.sealed[0]
    for wrong in ({1: sealed[1]}, sealed | {0: sealed[1]}, sealed | {9: sealed[1]}):
        with stops(Reason.STRANGER):
            fresh.take(0, wrong)
    with stops(Reason.MALFORMED):
        fresh.take(0, sealed | {1: sealed[1][:-1]})


def test_an_update_that_does_not_fit_leaves_no_trace(stages: Stages) -> None:
    planes, lanes = stages.updates[0]
    for wrong in (
        (Planes(planes.low[:-1], planes.high), lanes),
        (Planes(planes.low, None), lanes),
        (planes, lanes[:-1]),
        (planes, lanes.astype(np.int64)),
    ):
        with stops(Reason.VECTOR):
            stages.summing.take(0, *wrong)
    assert not stages.summing.total.integers().any()
    assert not stages.summing.lanes.any()
    assert not stages.summing.added


def test_a_signature_under_another_list_is_refused(stages: Stages) -> None:
    other = replace(stages.consenting, survivors=(0, 1, 2, 3, 4))
    with stops(Reason.SIGNATURE):
        other.take(0, stages.signatures[0])


def unmasked(stages: Stages, shares: dict[int, Shares]) -> np.ndarray:
    for place, revealed in shares.items():
        stages.unmasking.take(place, revealed)
    return stages.unmasking.close()[0].integers()


def exact() -> np.ndarray:
    said = terms()
    return np.sum([update(place, said)[0] for place in range(4)], axis=0, dtype=np.int64)


def test_a_site_that_drops_out_after_sharing_costs_nothing(stages: Stages) -> None:
    assert stages.unmasking.dropped == (4,)
    assert (unmasked(stages, stages.shares) == exact()).all()


@pytest.mark.parametrize("kind", ["seeds", "keys"])
def test_a_corrupt_share_is_noticed(stages: Stages, kind: str) -> None:
    """Four shares of five are needed and four came, one of them wrong."""
    table = dict(getattr(stages.shares[1], kind))
    first = next(iter(table))
    # In the middle: X25519 ignores the outermost bits of a key, so a change there would change nothing.
    table[first] = table[first][:16] + bytes([table[first][16] ^ 1]) + table[first][17:]
    stages.shares[1] = replace(stages.shares[1], **{kind: table})
    with stops(Reason.CORRUPT_SHARE):
        unmasked(stages, stages.shares)


def test_a_corrupt_share_costs_nothing_where_there_are_enough_others() -> None:
    """All five survive and four shares are needed: the hub tries other fours."""
    five, said = members(5), terms()
    corrupt = site.reveal

    def reveal(member: site.Member, stage: site.Consented, signatures: dict[int, bytes]) -> Shares:
        shares = corrupt(member, stage, signatures)
        if member.place == 1:
            shares.seeds[2] = bytes(33)
        return shares

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("secagg_round.reveal", reveal)
        outcome = play(five, said)
    assert (outcome.total.integers() == outcome.exact(said)[0]).all()


def test_a_corrupt_share_costs_nothing_wherever_it_is_among_many() -> None:
    """Of twenty sites the first lies: hundreds of thousands of choices of fourteen have it in them."""
    twenty, said = members(20), terms()
    honest = site.reveal

    def reveal(member: site.Member, stage: site.Consented, signatures: dict[int, bytes]) -> Shares:
        shares = honest(member, stage, signatures)
        return Shares(dict.fromkeys(shares.seeds, bytes(33)), shares.keys) if member.place == 0 else shares

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("secagg_round.reveal", reveal)
        outcome = play(twenty, said)
    assert (outcome.total.integers() == outcome.exact(said)[0]).all()


@pytest.mark.parametrize("fault", ["small order", "its own key twice", "a key of another site"])
def test_one_advert_that_no_site_would_take_is_refused_alone(stages: Stages, fault: str) -> None:
    """Or one hospital could stop every round: the others would all refuse the cohort that it is in."""
    fresh, honest = Advertising(terms(), FIVE[0].identities), stages.adverts[1]
    fresh.take(0, stages.adverts[0])
    mask_key = {"small order": bytes(32), "its own key twice": honest.sealing_key}.get(
        fault, stages.adverts[0].mask_key
    )
    body = (1, honest.sealing_key, mask_key, honest.commitment)
    signed = Advert(*body, sign(FIVE[1].signing_key, advert_statement(terms(), *body)))
    with stops(Reason.KEY):
        fresh.take(1, signed)
    for place in (2, 3, 4):
        fresh.take(place, stages.adverts[place])
    assert fresh.close().cohort.sites == (0, 2, 3, 4)


def test_shares_of_other_sites_than_asked_are_refused(stages: Stages) -> None:
    shares = stages.shares[0]
    for wrong in (Shares(shares.seeds, {}), Shares({}, shares.keys), Shares(shares.keys, shares.seeds)):
        with stops(Reason.STRANGER):
            stages.unmasking.take(0, wrong)


def test_the_hub_stops_below_the_threshold_at_every_stage(stages: Stages) -> None:
    few = replace(stages.advertising, adverts={0: stages.adverts[0], 1: stages.adverts[1]})
    with stops(Reason.COHORT):
        few.close()
    for stage in (
        replace(stages.sharing, sealed={0: stages.sealed[0]}),
        replace(stages.summing, added={0, 1, 2}),
        replace(stages.consenting, signatures={0: b""}),
        replace(stages.unmasking, shares={0: stages.shares[0]}),
    ):
        with stops(Reason.THRESHOLD):
            stage.close()


def test_the_hub_stops_below_the_agreed_number_of_sites_though_the_threshold_is_there() -> None:
    with stops(Reason.COHORT):
        play(members(5), terms(min_sites=5), drops={4: 2})
    assert play(members(5), terms(min_sites=4), drops={4: 2}).survivors == (0, 1, 2, 3)


def test_the_hub_holds_one_sum_whatever_the_number_of_sites() -> None:
    held = [value for value in vars(Stages().summing).values() if isinstance(value, Planes | np.ndarray)]
    assert sum(sums.nbytes for sums in held) == 3 * 16 + 8 * 3
    assert hub.SUBSETS_TRIED > 1
