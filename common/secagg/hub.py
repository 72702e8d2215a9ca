"""The hub's side of SA-1: five stages that take one message at a time, and one sum.

A stage takes what sites send until it is closed; who did not answer until then has dropped out. Closing gives
the next stage, and refuses when fewer than the threshold are left.

| stage         | takes                 | closing tells the sites   | then          |
|---------------|-----------------------|---------------------------|---------------|
| `Advertising` | adverts               | all adverts               | `Sharing`     |
| `Sharing`     | sealed shares         | each its shares           | `Summing`     |
| `Summing`     | masked updates        | the survivors             | `Consenting`  |
| `Consenting`  | signatures            | all signatures            | `Unmasking`   |
| `Unmasking`   | shares of the secrets | (nothing; the sum is out) | `Planes, Lanes` |
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations, islice

import numpy as np

from common.secagg.abort import AbortError, Reason, refusal
from common.secagg.keys import Secret, public_key, require_usable, verify
from common.secagg.masks import MaskKeys, mask_numbers, mask_planes
from common.secagg.messages import SEALED_BYTES, Advert, Shares, Table
from common.secagg.shamir import join
from common.secagg.site import Lanes, check_advert
from common.secagg.terms import Terms
from common.secagg.transcript import (
    Cohort,
    commitment_to,
    consent_statement,
    pair_masks,
    self_mask,
    stream_keys,
)
from common.update import Planes, add_packed

SUBSETS_TRIED = 200
"""Choices of a threshold of shares, when some are corrupt."""


@dataclass
class Advertising:
    """Sites make their keys known."""

    terms: Terms
    identities: Mapping[int, bytes]
    """Place in the roster -> Ed25519 public key."""
    adverts: dict[int, Advert] = field(default_factory=dict)

    def take(self, site: int, advert: Advert) -> None:
        """An advert of `site`."""
        if advert.site != site or site in self.adverts:
            raise refusal(Reason.STRANGER, "the advert is another site's, or its second")
        check_advert(self.identities, self.terms, advert)
        self._require_keys_of_its_own(advert)
        self.adverts[site] = advert

    def _require_keys_of_its_own(self, advert: Advert) -> None:
        """Refuse this advert alone, where every site would refuse the cohort that it is in."""
        keys = {advert.sealing_key, advert.mask_key}
        taken = {key for known in self.adverts.values() for key in (known.sealing_key, known.mask_key)}
        if len(keys) < 2 or keys & taken:
            raise refusal(Reason.KEY, "an advert has a key twice, or another advert's")
        for key in keys:
            require_usable(key)

    def close(self) -> "Sharing":
        """Fix the cohort."""
        if len(self.adverts) < self.terms.min_sites:
            raise refusal(
                Reason.COHORT, f"{len(self.adverts)} sites, at least {self.terms.min_sites} are agreed"
            )
        if not self.terms.profile.holds(len(self.adverts)):
            raise refusal(Reason.WRAP, f"the sum of {len(self.adverts)} updates could wrap")
        return Sharing(Cohort.of(self.terms, self.adverts), self.identities)


@dataclass
class Sharing:
    """Sites send each other sealed shares through the hub, which cannot open them."""

    cohort: Cohort
    identities: Mapping[int, bytes]
    sealed: dict[int, Table] = field(default_factory=dict)

    def take(self, site: int, sealed: Table) -> None:
        """What `site` has for every other site of the cohort."""
        _require_new(site, self.cohort.sites, self.sealed)
        if set(sealed) != set(self.cohort.sites) - {site}:
            raise refusal(Reason.STRANGER, "the shares are not for the sites of the cohort")
        if any(len(text) != SEALED_BYTES for text in sealed.values()):
            raise refusal(Reason.MALFORMED, "a sealed share has another length")
        self.sealed[site] = sealed

    def for_site(self, site: int) -> Table:
        """Sender -> the share that it sealed for `site`."""
        return {sender: table[site] for sender, table in sorted(self.sealed.items()) if sender != site}

    def close(self) -> "Summing":
        """Fix the senders U2."""
        senders = tuple(sorted(self.sealed))
        self.cohort.require_threshold(senders)
        terms = self.cohort.terms
        return Summing(
            self.cohort,
            self.identities,
            senders,
            terms.profile.zeros(terms.coordinates),
            np.zeros(terms.lanes, dtype=np.uint64),
        )


@dataclass
class Summing:
    """Masked updates are added to one sum as they come, and dropped."""

    cohort: Cohort
    identities: Mapping[int, bytes]
    senders: tuple[int, ...]
    total: Planes
    lanes: Lanes
    added: set[int] = field(default_factory=set)

    def take(self, site: int, planes: Planes, lanes: Lanes) -> None:
        """The masked update of `site`."""
        _require_new(site, self.senders, self.added)
        terms = self.cohort.terms
        if lanes.shape != self.lanes.shape or lanes.dtype != np.uint64:
            raise refusal(Reason.VECTOR, "the sums are not those of the terms")
        if not planes.fit(terms.profile, terms.coordinates):
            raise refusal(Reason.VECTOR, "the update has another length or type than the model")
        add_packed(self.total, planes, terms.profile)
        self.lanes += lanes
        self.added.add(site)

    def close(self) -> "Consenting":
        """Fix the survivors U3."""
        survivors = tuple(sorted(self.added))
        self.cohort.require_survivors(survivors)
        return Consenting(self, survivors)


@dataclass
class Consenting:
    """The survivors sign that they were all told of the same survivors."""

    summed: Summing
    survivors: tuple[int, ...]
    signatures: Table = field(default_factory=dict)

    def take(self, site: int, signature: bytes) -> None:
        """The signature of `site`."""
        _require_new(site, self.survivors, self.signatures)
        statement = consent_statement(self.summed.cohort, self.summed.senders, self.survivors)
        verify(self.summed.identities[site], signature, statement)
        self.signatures[site] = signature

    def close(self) -> "Unmasking":
        """Fix the signers U4."""
        self.summed.cohort.require_threshold(self.signatures)
        return Unmasking(self.summed, self.survivors, tuple(sorted(self.signatures)))


@dataclass
class Unmasking:
    """Enough shares of the secrets take the masks off the sum, and off nothing else."""

    summed: Summing
    survivors: tuple[int, ...]
    signers: tuple[int, ...]
    shares: dict[int, Shares] = field(default_factory=dict)

    @property
    def dropped(self) -> tuple[int, ...]:
        """Senders whose update never came; the survivors' masks with them must be taken off."""
        return tuple(sorted(set(self.summed.senders) - set(self.survivors)))

    def take(self, site: int, shares: Shares) -> None:
        """What `site` reveals."""
        _require_new(site, self.signers, self.shares)
        if tuple(shares.seeds) != self.survivors or tuple(shares.keys) != self.dropped:
            raise refusal(Reason.STRANGER, "the shares are not those of survivors and dropped sites")
        self.shares[site] = shares

    def close(self, *, threads: int = 1) -> tuple[Planes, Lanes]:
        """The sum of the survivors' updates and of their lanes."""
        self.summed.cohort.require_threshold(self.shares)
        seeds = self._masks_on_the_sum()
        mask_planes(self.summed.total, stream_keys(seeds, "words"), threads=threads)
        mask_numbers(self.summed.lanes, stream_keys(seeds, "lanes"))
        return self.summed.total, self.summed.lanes

    def _masks_on_the_sum(self) -> MaskKeys:
        """Seeds to add and to subtract so that nothing is left but the updates."""
        cohort = self.summed.cohort
        plus: list[bytes] = []
        minus: list[bytes] = []
        for site in self.survivors:
            seed = self._secret(site, "seeds", self._is_seed_of(site))
            minus.append(self_mask(cohort, seed, site))
        for site in self.dropped:
            secret = Secret(self._secret(site, "keys", self._is_key_of(site)))
            # The dropped site's own masks, with its signs: they cancel what the survivors added for it.
            pairs = pair_masks(cohort, secret, site, self.survivors)
            plus += pairs.plus
            minus += pairs.minus
            secret.wipe()
        return MaskKeys(tuple(plus), tuple(minus))

    def _is_seed_of(self, site: int) -> Callable[[bytes], bool]:
        cohort = self.summed.cohort
        commitment = cohort.adverts[site].commitment
        return lambda seed: commitment_to(cohort.terms, site, seed) == commitment

    def _is_key_of(self, site: int) -> Callable[[bytes], bool]:
        mask_key = self.summed.cohort.adverts[site].mask_key
        return lambda secret: public_key(Secret(secret)) == mask_key

    def _secret(self, site: int, kind: str, fits: Callable[[bytes], bool]) -> bytes:
        """The secret of `site` that its advert promised, from the first shares that give it."""
        held = {holder + 1: getattr(shares, kind)[site] for holder, shares in sorted(self.shares.items())}
        for chosen in islice(_choices(list(held), self.summed.cohort.threshold), SUBSETS_TRIED):
            try:
                secret = join({place: held[place] for place in chosen})
            except AbortError:
                continue
            if fits(secret):
                return secret
        raise refusal(
            Reason.CORRUPT_SHARE, f"no {self.summed.cohort.threshold} shares of site {site} fit its advert"
        )


def _choices(places: list[int], size: int) -> Iterator[tuple[int, ...]]:
    """Choices of `size` places: first, beginning with each in turn, those that follow one another in a ring.

    So a single corrupt share is soon left out, wherever it is.
    """
    ring = places + places
    yield from (tuple(ring[start : start + size]) for start in range(len(places)))
    yield from combinations(places, size)


def _require_new(site: int, expected: tuple[int, ...], taken: Mapping[int, object] | set[int]) -> None:
    if site not in expected or site in taken:
        raise refusal(Reason.STRANGER, "the message comes from a site that is not expected, or a second time")
