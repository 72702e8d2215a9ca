from copy import deepcopy
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from secagg_round import THIN, WIDE, Outcome, members, play, terms, update

from common.keystream import PIECE
from common.secagg.abort import AbortError
from common.secagg.hub import Advertising
from common.secagg.site import advertise, consent, mask, reveal, share
from common.secagg.terms import Terms, threshold
from common.update import Planes, Profile, add_packed, pack

PROFILES = {"wide": WIDE, "thin": THIN}


def assert_exact(outcome: Outcome, said: Terms) -> None:
    words, lanes = outcome.exact(said)
    assert_array_equal(outcome.total.integers(), words)
    assert_array_equal(outcome.lanes, lanes)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
@pytest.mark.parametrize("sites", range(3, 21))
def test_the_sum_is_exact(profile: Profile, sites: int) -> None:
    said = terms(coordinates=1001, profile=profile)
    assert_exact(play(members(sites), said), said)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_the_sum_is_that_of_plain_aggregation_bit_for_bit(profile: Profile) -> None:
    said = terms(coordinates=1001, profile=profile)
    outcome = play(members(5), said, drops={2: 2})
    plain = profile.zeros(said.coordinates)
    for place in outcome.survivors:
        add_packed(plain, update(place, said)[1], profile)
    assert_array_equal(outcome.total.integers(), plain.integers())


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_pieces_do_not_show_in_the_sum(profile: Profile) -> None:
    said = terms(coordinates=2 * PIECE + 4097, profile=profile)
    assert_exact(play(members(3), said), said)


def subsets(sites: tuple[int, ...]) -> list[tuple[int, ...]]:
    return [chosen for size in range(len(sites) + 1) for chosen in combinations(sites, size)]


def test_every_dropout_pattern_of_five_sites_ends_in_the_exact_sum_or_a_clean_stop() -> None:
    """A pattern says at which of five stages each site stops, or never: 6^5 of them.

    It is the same as a chain of sites that are left after each stage, so the tree of chains is walked and
    what patterns have in common is done once. Where the hub stops, it stops for all patterns below.
    """
    said, five = terms(), members(5)
    keys = {place: advertise(member, said) for place, member in five.items()}
    done = {"finished": 0, "stopped": 0}

    def closes(stage: Any, left: tuple[int, ...], enough: bool, stages_to_come: int) -> Any:
        """What follows `stage`, or None where it stops, as it must without `enough` sites."""
        try:
            following = stage.close()
        except AbortError:
            assert not enough
            done["stopped"] += (stages_to_come + 1) ** len(left)
            return None
        assert enough
        return following

    for advertised in subsets(tuple(five)):
        advertising = Advertising(said, five[0].identities)
        for place in advertised:
            advertising.take(place, keys[place][1])
        needed = threshold(len(advertised))
        sharing = closes(advertising, advertised, len(advertised) >= 3, 4)
        if sharing is None:
            continue
        shared = {place: share(five[place], keys[place][0], advertising.adverts) for place in advertised}
        for senders in subsets(advertised):
            sharing_now = replace(sharing, sealed={place: shared[place][1] for place in senders})
            summing = closes(sharing_now, senders, len(senders) >= needed, 3)
            if summing is None:
                continue
            masked, sent = {}, {}
            for place in senders:
                _, planes, lanes = update(place, said)
                table = sharing_now.for_site(place)
                masked[place] = mask(five[place], shared[place][0], table, planes, lanes)
                sent[place] = (planes, lanes)
            for survivors in subsets(senders):
                summing_now = deepcopy(summing)
                for place in survivors:
                    summing_now.take(place, *sent[place])
                consenting = closes(summing_now, survivors, len(survivors) >= needed, 2)
                if consenting is None:
                    continue
                signed = {place: consent(five[place], masked[place], survivors) for place in survivors}
                for signers in subsets(survivors):
                    signatures = {place: signed[place][1] for place in signers}
                    unmasking = closes(
                        replace(consenting, signatures=signatures), signers, len(signers) >= needed, 1
                    )
                    if unmasking is None:
                        continue
                    revealed = {place: reveal(five[place], signed[place][0], signatures) for place in signers}
                    for last in subsets(signers):
                        final = deepcopy(unmasking)
                        for place in last:
                            final.take(place, revealed[place])
                        sums = closes(final, last, len(last) >= needed, 0)
                        if sums is not None:
                            assert_exact(Outcome(*sums, survivors), said)
                            done["finished"] += 1
    # All five to the end or one stops anywhere (26 and 80: after one left at the start, four need three), or
    # two left at the start and three need three.
    assert done == {"finished": 1 + 5 * 5 + 5 * 4 * 4 + 10, "stopped": 6**5 - 116}


@pytest.mark.parametrize(
    ("sites", "needed"), [(3, 3), (4, 3), (5, 4), (6, 5), (7, 5), (10, 7), (20, 14), (100, 67)]
)
def test_the_threshold_is_more_than_two_thirds(sites: int, needed: int) -> None:
    assert threshold(sites) == needed


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_extreme_updates_do_not_wrap(profile: Profile) -> None:
    sites = 256 if profile is WIDE else 20
    assert profile.holds(sites)
    assert not profile.holds(sites + 1) or profile.levels < 2**15 - 1
    for extreme in (-profile.levels, profile.levels):
        total = profile.zeros(2)
        for _ in range(sites):
            add_packed(total, pack(np.full(2, extreme, np.int16), profile), profile)
        assert total.integers().tolist() == [extreme * sites] * 2


def test_what_the_hub_sees_of_a_site_is_uniform_noise() -> None:
    """Counts of byte values and balance of bits within 6 sigma; nothing of the update shows in it."""
    said = terms(coordinates=1 << 18)
    first, second = (play(members(3), said).sent[0][0] for _ in range(2))
    assert first.high is not None
    for plane in (first.low.view(np.uint8), first.high):
        expected = len(plane) / 256
        chi_square = ((np.bincount(plane, minlength=256) - expected) ** 2 / expected).sum()
        assert abs(chi_square - 255) < 6 * np.sqrt(2 * 255)
    words = first.integers().astype(np.float64)
    steps = update(0, said)[0].astype(np.float64)
    for other in (steps, second.integers().astype(np.float64), np.roll(words, 1)):
        assert abs(np.corrcoef(words, other)[0, 1]) < 6 / np.sqrt(said.coordinates)


def test_one_missing_site_hides_the_sum_of_the_rest() -> None:
    said = terms(coordinates=64)
    sent = play(members(4), said).sent
    partial = WIDE.zeros(64)
    for place in (0, 1, 2):
        add_packed(partial, sent[place][0], WIDE)
    rest = np.sum([update(place, said)[0] for place in (0, 1, 2)], axis=0, dtype=np.int64)
    assert (partial.integers() != rest).mean() > 0.9


def test_thin_words_have_one_plane_and_wide_words_two() -> None:
    steps = np.array([-3, 0, 7], np.int16)
    assert pack(steps, THIN).nbytes == 2 * 3
    assert pack(steps, WIDE).nbytes == 3 * 3
    assert isinstance(pack(steps, THIN), Planes)
