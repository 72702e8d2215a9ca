"""What a hub can try under secure aggregation; each attack ends in a refusal, or in noise.

Letters are those under which the same attacks succeed against Flower's SecAgg+.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from flwr.app import ConfigRecord

from common.messages import CONSENT, HELLO, INPUT, REVEAL, SHARE, TRAIN, Step
from common.secagg.keys import Secret, public_key, sign
from common.secagg.masks import MaskKeys, mask_planes
from common.secagg.messages import Advert
from common.secagg.shamir import join
from common.secagg.transcript import advert_statement, commitment_to, pair_masks, stream_keys
from common.update import Integers, Planes
from simulations.attacks.hub.adversary import (
    EVERYONE,
    OTHERS,
    VICTIM,
    Adversary,
    StoppedError,
    federation,
    likeness,
    plain_update,
)

NOISE = 0.2
"""Beyond this correlation an attack has seen something; thousands of words of noise stay far below."""

Guess = npt.NDArray[np.generic]
"""The victim's update as the attack reads it."""
Attack = Callable[[Adversary], Guess]


@dataclass(frozen=True)
class Finding:
    """How one attack ended."""

    attack: str
    what: str
    stopped_by: str | None
    """The refusal that the hub was told, or None where it got to its end."""
    likeness: float
    """Correlation of what it read with the victim's update; 0 where it was stopped."""

    @property
    def failed(self) -> bool:
        """Whether the victim's update stayed its own."""
        return abs(self.likeness) < NOISE


def run_attacks(folder: Path) -> tuple[Finding, ...]:
    """All attacks, one after the other, on one federation, and the control on plain aggregation first."""
    truth = plain_update(folder)
    control = Finding("curious, plain", "reads the update as it comes, without secure aggregation", None, 1.0)
    control = replace(control, likeness=likeness(plain_update(folder / "again"), truth))
    adversary = Adversary.over(federation(folder, secure=True))
    return (control, *(_judge(name, attack, adversary, truth) for name, attack in ATTACKS.items()))


def _judge(name: str, attack: Attack, adversary: Adversary, truth: Integers) -> Finding:
    what = " ".join((attack.__doc__ or "").split())
    try:
        return Finding(name, what, None, likeness(attack(adversary), truth))
    except StoppedError as error:
        return Finding(name, what, str(error), 0.0)


def curious(hub: Adversary) -> Guess:
    """Plays by the rules and looks at the masked update."""
    hub.until_masked()
    return _masked(hub)


def both_secrets(hub: Adversary) -> Guess:
    """A: tells some sites that the victim survived and others that it did not."""
    hub.until_masked()
    hub.name(VICTIM, EVERYONE)
    hub.name(1, EVERYONE)
    hub.name(2, OTHERS)
    hub.name(3, OTHERS)
    for site in (1, 2, 3):
        hub.ask(site, hub.signatures)
    return _masked(hub)


def key_substitution(hub: Adversary) -> Guess:
    """B: puts keys of its own in the place of the others'."""
    hub.begin()
    forged = {site: _forged(hub, site) for site in OTHERS}
    hub.share(VICTIM, {**forged, VICTIM: hub.adverts[VICTIM]})
    return _masked(hub)


def shrunken_threshold(hub: Adversary) -> Guess:
    """C: asks for shares with the signature of a single site."""
    hub.until_masked()
    for site in EVERYONE:
        hub.name(site, EVERYONE)
    hub.ask(1, {1: hub.signatures[1]})
    return _masked(hub)


def weak_words(hub: Adversary) -> Guess:
    """D: asks for words of one bit, whose masks would be nothing."""
    hub.begin()
    urged = replace(hub.instruction, attempt=hub.attempt + 1).to_records()
    urged["weak"] = ConfigRecord({"word_bits": 1, "levels": 1, "mod_range": 2})
    hub.attempt += 1
    hub.adverts[VICTIM] = Advert.from_bytes(hub.send(VICTIM, TRAIN, urged).body)
    for site in OTHERS:
        told = replace(hub.instruction, attempt=hub.attempt)
        hub.adverts[site] = Advert.from_bytes(hub.send(site, TRAIN, told.to_records()).body)
    for site in EVERYONE:
        hub.share(site, hub.adverts)
    hub.deliver(VICTIM)
    return _masked(hub)


def cohort_of_one(hub: Adversary) -> Guess:
    """E: shows the victim a cohort of itself."""
    hub.begin()
    hub.share(VICTIM, {VICTIM: hub.adverts[VICTIM]})
    return _masked(hub)


def downgrade(hub: Adversary) -> Guess:
    """G: asks for the update as plain aggregation does."""
    hub.send(VICTIM, TRAIN, hub.instruction.to_records())
    return _masked(hub)


def late_vector(hub: Adversary) -> Guess:
    """Calls the victim dropped, is given its mask key by the others, and unmasks what came late."""
    hub.until_masked()
    for site in OTHERS:
        hub.name(site, OTHERS)
    for site in OTHERS:
        hub.ask(site, {other: hub.signatures[other] for other in OTHERS})
    held = {site + 1: hub.shares[site].keys[VICTIM] for site in OTHERS}
    secret = Secret(join(held))
    assert public_key(secret) == hub.adverts[VICTIM].mask_key
    pairs = pair_masks(hub.cohort, secret, VICTIM, OTHERS)
    sent = hub.masked[VICTIM]
    planes = Planes(sent.low.copy(), None if sent.high is None else sent.high.copy())
    mask_planes(planes, stream_keys(MaskKeys(pairs.minus, pairs.plus), "words"))
    return planes.integers()


def sybil(hub: Adversary) -> Guess:
    """Adds a site of its own to the cohort."""
    hub.begin()
    hub.share(VICTIM, {**hub.adverts, 9: replace(_forged(hub, 1), site=9)})
    return _masked(hub)


def split_view(hub: Adversary) -> Guess:
    """Shows the victim a shorter cohort than the others."""
    hub.begin()
    shorter = {site: hub.adverts[site] for site in (VICTIM, 1, 2)}
    hub.share(VICTIM, shorter)
    for site in OTHERS:
        hub.share(site, hub.adverts)
    hub.deliver(VICTIM, {site: hub.sealed[site][VICTIM] for site in (1, 2)})
    return _masked(hub)


def replay(hub: Adversary) -> Guess:
    """Shows the keys of an older attempt, of which it might know secrets."""
    hub.begin()
    old = dict(hub.adverts)
    hub.begin()
    hub.share(VICTIM, {**old, VICTIM: hub.adverts[VICTIM]})
    return _masked(hub)


def model_inconsistency(hub: Adversary) -> Guess:
    """Sends the others a model without updates, so that the sum is the victim's (Pasquini et al. 2022)."""
    dead = hub.instruction.weights * np.float32(0)
    digest = hub.project.layout.digest(dead)
    other = replace(hub.instruction, weights=dead, model=digest)
    hub.begin(dict.fromkeys(OTHERS, other))
    hub.share(VICTIM, hub.adverts)
    return _masked(hub)


def tampered_shares(hub: Adversary) -> Guess:
    """Changes a sealed share on its way."""
    hub.begin()
    for site in EVERYONE:
        hub.share(site, hub.adverts)
    table = {site: hub.sealed[site][VICTIM] for site in OTHERS}
    hub.deliver(VICTIM, table | {1: bytes([table[1][0] ^ 1]) + table[1][1:]})
    return _masked(hub)


def second_query(hub: Adversary) -> Guess:
    """Wants the sum over all sites on the model of which it has the sum of the others: subtract, and read."""
    hub.until_masked()
    for site in EVERYONE:
        hub.name(site, EVERYONE)
    for site in EVERYONE:
        hub.ask(site, hub.signatures)
    return _masked(hub)


def bypass(hub: Adversary) -> Guess:
    """Jumps to a later step, or calls what does not exist, in the hope of an answer with numbers."""
    refusals = []
    for kind in (HELLO, SHARE, INPUT, CONSENT, REVEAL, "query", "evaluate", "query.weights", "train.plain"):
        try:
            content = hub.raw(VICTIM, kind, Step(1, hub.attempt, b"").to_records())
        except StoppedError as error:
            refusals.append(error)
        else:
            assert set(content) == {"hello"}
    raise refusals[0]


ATTACKS: dict[str, Attack] = {
    "curious": curious,
    "A both secrets": both_secrets,
    "B key substitution": key_substitution,
    "C shrunken threshold": shrunken_threshold,
    "D weak words": weak_words,
    "E cohort of one": cohort_of_one,
    "G downgrade": downgrade,
    "bypass": bypass,
    "sybil": sybil,
    "split view": split_view,
    "replay": replay,
    "model inconsistency": model_inconsistency,
    "tampered shares": tampered_shares,
    "late vector": late_vector,
    "second query": second_query,
}
"""In this order: the late vector unmasks the sum of the others, and the last attack builds on that."""


def _masked(hub: Adversary) -> Integers:
    """The victim's masked update as it came."""
    return hub.masked[VICTIM].integers()


def _forged(hub: Adversary, site: int) -> Advert:
    """An advert in the name of `site`, signed with a key of the hub's own."""
    secret = Secret(b"h" * 32)
    sealing, commitment = Secret(bytes([site + 1]) * 32), commitment_to(hub.terms, site, b"b" * 32)
    body = (site, public_key(sealing), public_key(secret), commitment)
    return Advert(*body, sign(secret, advert_statement(hub.terms, *body)))
