"""A site's side of SA-1: Bonawitz et al. 2017 against a hub that may lie, on a complete graph.

Source: doi:10.1145/3133956.3133982, figure 4. Every transition is a function of a stage and a message; it
returns the next stage and what is sent, or refuses with `AbortError` and changes nothing.

| paper            | stage before | message in           | transition  | message out     | stage after  |
|------------------|--------------|----------------------|-------------|-----------------|--------------|
| 0 AdvertiseKeys  | none         | (its own terms)      | `advertise` | Advert          | `Advertised` |
| 1 ShareKeys      | `Advertised` | adverts of U1        | `share`     | sealed shares   | `Shared`     |
| 2 MaskedInput    | `Shared`     | shares for it, of U2 | `mask`      | masked update   | `Masked`     |
| 3 Consistency    | `Masked`     | survivors U3         | `consent`   | signature       | `Consented`  |
| 4 Unmasking      | `Consented`  | signatures of U4     | `reveal`    | shares of U2    | none         |

U1 >= U2 >= U3 >= U4, each at least the threshold of U1. What is revealed follows from the site's own stage:
of a survivor the share of its self seed, of a dropped site the share of its mask key, so never both.
"""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from common.secagg.abort import Reason, refusal
from common.secagg.keys import Secret, identity_of, public_key, seal, sign, unseal, verify
from common.secagg.masks import MaskKeys, mask_numbers, mask_planes
from common.secagg.messages import SEALED_BYTES, Advert, Shares, Table
from common.secagg.shamir import SECRET_BYTES, SHARE_BYTES, RandomBytes, split
from common.secagg.terms import Terms
from common.secagg.transcript import (
    Cohort,
    advert_statement,
    commitment_to,
    consent_statement,
    pair_masks,
    self_mask,
    share_header,
    share_key,
    stream_keys,
)
from common.update import Planes

Lanes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Member:
    """Who a site is, and whom it knows."""

    place: int
    signing_key: Secret
    identities: Mapping[int, bytes]
    """Place in the roster -> Ed25519 public key."""

    def __post_init__(self) -> None:
        assert self.identities[self.place] == identity_of(self.signing_key)

    def identities_of(self, sites: Sequence[int]) -> tuple[bytes, ...]:
        """Who the sites in these places are."""
        return tuple(self.identities[site] for site in sites)


@dataclass(frozen=True)
class Advertised:
    """Keys are made; nobody has a share of them."""

    terms: Terms
    sealing_secret: Secret
    mask_secret: Secret
    self_seed: Secret
    advert: Advert

    def wipe(self) -> None:
        """Overwrite the secrets."""
        for secret in (self.sealing_secret, self.mask_secret, self.self_seed):
            secret.wipe()


@dataclass(frozen=True)
class Shared:
    """The cohort is fixed, and every site of it was sent shares."""

    keys: Advertised
    cohort: Cohort
    own_shares: bytes

    def wipe(self) -> None:
        """Overwrite the secrets."""
        self.keys.wipe()


@dataclass(frozen=True)
class Masked:
    """The masked update is on its way; of all secrets only the others' shares are kept."""

    cohort: Cohort
    place: int
    senders: tuple[int, ...]
    """U2."""
    shares: Mapping[int, Secret]
    """Sender -> shares of its self seed and of its mask key."""

    def wipe(self) -> None:
        """Overwrite the secrets."""
        for share in self.shares.values():
            share.wipe()


@dataclass(frozen=True)
class Consented:
    """The survivors are fixed and signed for, once."""

    masked: Masked
    survivors: tuple[int, ...]
    """U3."""

    def wipe(self) -> None:
        """Overwrite the secrets."""
        self.masked.wipe()


Stage = Advertised | Shared | Masked | Consented


def advertise(
    member: Member, terms: Terms, *, consumed: int = 0, random: RandomBytes = os.urandom
) -> tuple[Advertised, Advert]:
    """Make fresh keys for a round that is newer than any before.

    Args:
        member: this site.
        terms: as this site wrote them down.
        consumed: the last attempt of this run that this site took part in.
        random: source of secrets.
    """
    if terms.attempt <= consumed:
        raise refusal(Reason.REPLAYED, f"attempt {terms.attempt} is not newer than {consumed}")
    sealing, masking, seed = (Secret(random(SECRET_BYTES)) for _ in range(3))
    body = (
        member.place,
        public_key(sealing),
        public_key(masking),
        commitment_to(terms, member.place, seed.expose()),
    )
    advert = Advert(*body, sign(member.signing_key, advert_statement(terms, *body)))
    return Advertised(terms, sealing, masking, seed, advert), advert


def share(
    member: Member, stage: Advertised, adverts: Mapping[int, Advert], *, random: RandomBytes = os.urandom
) -> tuple[Shared, Table]:
    """Check the cohort U1 and send every site of it a sealed share of both secrets."""
    cohort = _cohort(member, stage, adverts)
    places = {site: site + 1 for site in cohort.sites}
    parts = [
        split(secret.expose(), threshold=cohort.threshold, places=[*places.values()], random=random)
        for secret in (stage.self_seed, stage.mask_secret)
    ]
    shares = {site: parts[0][place] + parts[1][place] for site, place in places.items()}
    own_shares = shares.pop(member.place)
    sealed = {}
    for peer, plain in shares.items():
        way = {"sender": member.place, "receiver": peer}
        key = share_key(cohort, stage.sealing_secret, adverts[peer].sealing_key, **way)
        sealed[peer] = seal(key, plain, share_header(cohort, **way))
    return Shared(stage, cohort, own_shares), sealed


def mask(
    member: Member, stage: Shared, sealed: Table, planes: Planes, lanes: Lanes, *, threads: int = 1
) -> Masked:
    """Open the shares of the sites U2 and mask the update and its lanes, in place."""
    cohort, keys = stage.cohort, stage.keys
    senders = tuple(sorted({*sealed, member.place}))
    if member.place in sealed or not set(senders) <= set(cohort.sites):
        raise refusal(Reason.STRANGER, "shares came from outside the cohort")
    cohort.require_threshold(senders)
    shares = {peer: _open_share(member, stage, peer, text) for peer, text in sealed.items()}
    shares[member.place] = Secret(stage.own_shares)
    if len(lanes) != cohort.terms.lanes or lanes.dtype != np.uint64:
        raise refusal(Reason.VECTOR, "the sums are not those of the terms")
    if not planes.fit(cohort.terms.profile, cohort.terms.coordinates):
        raise refusal(Reason.VECTOR, "the update has another length or type than the model")

    pairs = pair_masks(cohort, keys.mask_secret, member.place, set(senders) - {member.place})
    own = self_mask(cohort, keys.self_seed.expose(), member.place)
    seeds = MaskKeys((*pairs.plus, own), pairs.minus)
    mask_planes(planes, stream_keys(seeds, "words"), threads=threads)
    mask_numbers(lanes, stream_keys(seeds, "lanes"))
    return Masked(cohort, member.place, senders, shares)


def consent(
    member: Member,
    stage: Masked,
    survivors: tuple[int, ...],
    *,
    unmasked_before: Collection[bytes] | None = None,
) -> tuple[Consented, bytes]:
    """Sign, once, who the survivors U3 are.

    Args:
        member: this site.
        stage: the site's.
        survivors: as the hub names them.
        unmasked_before: identities of the survivors of an earlier sum on the same model, if this site
            unmasked one. Sums over different sites on one model would differ by single updates, so only the
            same may follow; places would not do, for another roster gives them to other sites.
    """
    if survivors != tuple(sorted(set(survivors))):
        raise refusal(Reason.MALFORMED, "survivors are out of order or named twice")
    if member.place not in survivors or not set(survivors) <= set(stage.senders):
        raise refusal(Reason.STRANGER, "the survivors are not a part of the senders with this site in it")
    stage.cohort.require_survivors(survivors)
    if unmasked_before is not None and set(unmasked_before) != set(member.identities_of(survivors)):
        raise refusal(Reason.SECOND_COHORT, "this model's updates were summed over other sites before")
    signature = sign(member.signing_key, consent_statement(stage.cohort, stage.senders, survivors))
    return Consented(stage, survivors), signature


def reveal(member: Member, stage: Consented, signatures: Table) -> Shares:
    """Once enough survivors signed the same lists: shares of survivors' seeds and of dropped sites' keys."""
    masked, survivors = stage.masked, stage.survivors
    if not set(signatures) <= set(survivors):
        raise refusal(Reason.STRANGER, "a signature comes from outside the survivors")
    masked.cohort.require_threshold(signatures)
    statement = consent_statement(masked.cohort, masked.senders, survivors)
    for site, signature in signatures.items():
        verify(member.identities[site], signature, statement)
    held = {site: secret.expose() for site, secret in masked.shares.items()}
    dropped = set(masked.senders) - set(survivors)
    return Shares(
        seeds={site: held[site][:SHARE_BYTES] for site in survivors},
        keys={site: held[site][SHARE_BYTES:] for site in sorted(dropped)},
    )


def check_advert(identities: Mapping[int, bytes], terms: Terms, advert: Advert) -> None:
    """Refuse an advert that is not its site's own, for these terms.

    Raises:
        AbortError: so it is.
    """
    site, sealing, masking, commitment, signature = advert.fields()
    if site not in identities:
        raise refusal(Reason.STRANGER, "an advert comes from outside the roster")
    verify(identities[site], signature, advert_statement(terms, site, sealing, masking, commitment))


def _cohort(member: Member, stage: Advertised, adverts: Mapping[int, Advert]) -> Cohort:
    """The cohort U1, checked."""
    terms = stage.terms
    if adverts.get(member.place) != stage.advert:
        raise refusal(Reason.OWN_ENTRY, "this site's own advert was left out or changed")
    if len(adverts) < terms.min_sites:
        raise refusal(Reason.COHORT, f"{len(adverts)} sites, at least {terms.min_sites} are agreed")
    if not terms.profile.holds(len(adverts)):
        raise refusal(Reason.WRAP, f"the sum of {len(adverts)} updates could wrap")
    for site, advert in adverts.items():
        if site != advert.site:
            raise refusal(Reason.STRANGER, "an advert stands in another site's place")
        check_advert(member.identities, terms, advert)
    keys = [key for advert in adverts.values() for key in (advert.sealing_key, advert.mask_key)]
    if len(set(keys)) < len(keys):
        raise refusal(Reason.KEY, "two adverts share a key")
    return Cohort.of(terms, dict(adverts))


def _open_share(member: Member, stage: Shared, sender: int, sealed: bytes) -> Secret:
    if len(sealed) != SEALED_BYTES:
        raise refusal(Reason.MALFORMED, "a sealed share has another length")
    way = {"sender": sender, "receiver": member.place}
    peer_key = stage.cohort.adverts[sender].sealing_key
    key = share_key(stage.cohort, stage.keys.sealing_secret, peer_key, **way)
    return Secret(unseal(key, sealed, share_header(stage.cohort, **way)))
