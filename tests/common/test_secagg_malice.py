"""A hub that does as it likes: it keeps all it ever saw, and shows each site what it wants, when it wants.

Whatever it does, it never holds a threshold of shares of both secrets of one site in one cohort, and what it
can unmask is the exact sum of a cohort's survivors.
"""

import os
from collections import defaultdict
from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from secagg_round import members, terms, update

from common.secagg import hub, site
from common.secagg.abort import AbortError
from common.secagg.messages import Shares
from common.secagg.terms import Terms, threshold
from common.update import Planes

EXAMPLES = int(os.environ.get("FEDVLP_MALICE_EXAMPLES", "2000"))
"""A longer run is asked for by the environment."""

SITES = 4
FOUR = members(SITES)
Sites = tuple[int, ...]
Seat = tuple[int, int]
"""Which of two rounds, and which site; the hub opens both rounds and mixes what it gets."""

MOST = st.sampled_from([tuple(FOUR)] * 4 + [chosen for size in (2, 3) for chosen in combinations(FOUR, size)])
ODD = st.tuples(st.integers(0, 2), st.integers(0, SITES - 1))
"""The seat that is told something else; in the third round there is none."""

OPENED: dict[Seat, tuple[site.Advertised, Any]] = {
    (view, place): site.advertise(member, terms(coordinates=4, attempt=view + 1))
    for view in (0, 1)
    for place, member in FOUR.items()
}
"""Made once: fresh keys for every example would be most of the work and change nothing."""
DONE: dict[tuple[Any, ...], tuple[Any, Any]] = {}
"""Transition, stage and message -> the stage, kept for its identity, and what came of it or the refusal."""
SUMS: set[tuple[bytes, Sites]] = set()
"""Cohorts and survivors that were unmasked in some example."""


def once(transition: Callable[..., Any], stage: Any, message: Any) -> Any:
    """A stage and a message always give the same, so that no example need compute it again.

    Raises:
        AbortError: the transition refused, now or before.
    """
    said = tuple(sorted(message.items())) if isinstance(message, dict) else message
    key = (transition, id(stage), said)
    if key not in DONE:
        try:
            DONE[key] = (stage, transition(FOUR[place_of(stage)], stage, message))
        except AbortError as error:
            DONE[key] = (stage, error)
    result = DONE[key][1]
    if isinstance(result, AbortError):
        raise result
    return result


def place_of(stage: site.Stage) -> int:
    """Whose stage it is."""
    match stage:
        case site.Advertised():
            return stage.advert.site
        case site.Shared():
            return stage.keys.advert.site
        case site.Masked():
            return stage.place
        case site.Consented():
            return stage.masked.place


def shared(member: site.Member, stage: site.Advertised, cohort: tuple[int, ...]) -> Any:
    """What a site does when shown `cohort` of its round."""
    view = stage.terms.attempt - 1
    return site.share(member, stage, {other: OPENED[view, other][1] for other in cohort})


def masked(member: site.Member, stage: site.Shared, table: dict[int, bytes]) -> tuple[site.Masked, Any]:
    """The stage after masking, and the masked update."""
    _, planes, lanes = update(member.place, stage.cohort.terms)
    return site.mask(member, stage, table, planes, lanes), (planes, lanes)


class LyingHub(RuleBasedStateMachine):
    """Drives honest sites, each through its own stages; one site of each step may be told something else."""

    @initialize()
    def begin(self) -> None:
        self.stage: dict[Seat, site.Stage] = {seat: stage for seat, (stage, _) in OPENED.items()}
        self.ciphertexts: dict[tuple[int, int, int], bytes] = {}
        self.signatures: dict[Seat, bytes] = {}
        self.inputs: dict[Seat, Any] = {}
        self.revealed: dict[Seat, tuple[site.Consented, Shares]] = {}
        self.holders: dict[tuple[bytes, str, int], set[int]] = defaultdict(set)
        self.needed: dict[bytes, int] = {}

    def seats(self, kind: type) -> list[Seat]:
        """Who waits in this stage."""
        return [seat for seat, stage in self.stage.items() if isinstance(stage, kind)]

    @precondition(lambda self: self.seats(site.Advertised))
    @rule(told=MOST, odd=ODD, odd_told=MOST)
    def show_a_cohort(self, told: Sites, odd: Seat, odd_told: Sites) -> None:
        for seat in self.seats(site.Advertised):
            cohort = odd_told if seat == odd else told
            try:
                self.stage[seat], sealed = once(shared, self.stage[seat], cohort)
            except AbortError:
                assert seat[1] not in cohort or len(cohort) < 3
                continue
            for receiver, text in sealed.items():
                self.ciphertexts[(*seat, receiver)] = text

    @precondition(lambda self: self.seats(site.Shared))
    @rule(senders=MOST, odd=ODD, odd_senders=MOST, lie=st.sampled_from(["none", "swap", "other round"]))
    def deliver_shares(self, senders: Sites, odd: Seat, odd_senders: Sites, lie: str) -> None:
        for seat in self.seats(site.Shared):
            view, place = seat
            lied = lie if seat == odd else "none"
            source = 1 - view if lied == "other round" else view
            table = {
                sender: self.ciphertexts[source, sender, place]
                for sender in (odd_senders if seat == odd else senders)
                if sender != place and (source, sender, place) in self.ciphertexts
            }
            if lied == "swap" and len(table) > 1:
                first, second, *_ = table
                table[first], table[second] = table[second], table[first]
            try:
                self.stage[seat], self.inputs[seat] = once(masked, self.stage[seat], table)
            except AbortError:
                continue
            assert lied == "none"

    @precondition(lambda self: self.seats(site.Masked))
    @rule(survivors=MOST, odd=ODD, odd_survivors=MOST)
    def name_survivors(self, survivors: Sites, odd: Seat, odd_survivors: Sites) -> None:
        for seat in self.seats(site.Masked):
            named = odd_survivors if seat == odd else survivors
            try:
                self.stage[seat], self.signatures[seat] = once(site.consent, self.stage[seat], named)
            except AbortError:
                continue
            assert seat[1] in named
            assert len(named) >= 3

    @precondition(lambda self: self.seats(site.Consented))
    @rule(signers=MOST, views=st.sampled_from([(0, 0), (1, 1), (0, 1), (1, 0)]))
    def ask_for_shares(self, signers: Sites, views: tuple[int, int]) -> None:
        for seat in self.seats(site.Consented):
            stage = self.stage[seat]
            assert isinstance(stage, site.Consented)
            source = views[seat[0]]
            table = {who: self.signatures[source, who] for who in signers if (source, who) in self.signatures}
            try:
                shares = once(site.reveal, stage, table)
            except AbortError:
                continue
            assert not set(shares.seeds) & set(shares.keys)
            self.revealed[seat] = (stage, shares)
            cohort = stage.masked.cohort
            self.needed[cohort.digest] = cohort.threshold
            for kind in ("seeds", "keys"):
                for other in getattr(shares, kind):
                    self.holders[cohort.digest, kind, other].add(seat[1])
            self.unmask(seat[0])

    def unmask(self, view: int) -> None:
        """What the hub makes of enough shares, by its own code, is the sum of the survivors."""
        held = {place: done for (where, place), done in self.revealed.items() if where == view}
        stage, _ = next(iter(held.values()))
        if len(held) >= stage.masked.cohort.threshold and self.masked_alike(view, stage):
            SUMS.add((stage.masked.cohort.digest, stage.survivors))
            shares = {place: given for place, (_, given) in held.items()}
            inputs = {place: self.inputs[view, place] for place in stage.survivors}
            assert sum_of(stage, shares, inputs) == exact_sum(stage)

    def masked_alike(self, view: int, stage: site.Consented) -> bool:
        """Whether the masks of the survivors can cancel; otherwise the hub has made itself noise."""
        others = [self.stage[view, place] for place in stage.survivors]
        return all(
            isinstance(other, site.Masked | site.Consented)
            and (other.masked if isinstance(other, site.Consented) else other).senders == stage.masked.senders
            for other in others
        )

    @invariant()
    def both_secrets_of_a_site_are_never_in_reach(self) -> None:
        for digest, needed in self.needed.items():
            for place in FOUR:
                held = [len(self.holders[digest, kind, place]) for kind in ("seeds", "keys")]
                assert min(held) < needed


def sum_of(
    stage: site.Consented, shares: dict[int, Shares], inputs: dict[int, tuple[Planes, site.Lanes]]
) -> list[int]:
    """What the hub's own code makes of everything it holds."""
    masked = stage.masked
    words = masked.cohort.terms.profile.zeros(4)
    summing = hub.Summing(masked.cohort, FOUR[0].identities, masked.senders, words, np.zeros(3, np.uint64))
    for place, sent in inputs.items():
        summing.take(place, *sent)
    unmasking = hub.Unmasking(summing, stage.survivors, tuple(shares))
    for place, given in shares.items():
        unmasking.take(place, given)
    return list(unmasking.close()[0].integers().tolist())


def exact_sum(stage: site.Consented) -> list[int]:
    said: Terms = stage.masked.cohort.terms
    assert len(stage.survivors) >= threshold(len(stage.masked.cohort.sites)) >= 3
    return list(
        np.sum([update(place, said)[0] for place in stage.survivors], axis=0, dtype=np.int64).tolist()
    )


@pytest.mark.slow
def test_a_hub_that_lies_at_random_learns_sums_alone() -> None:
    run_state_machine_as_test(
        LyingHub,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=6,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert (
        len(SUMS) > 3
    )  # the random hub does get to the end, in different cohorts and with different survivors
