"""What every key and signature of a round is bound to, and the keys themselves.

terms -> advert (signed over the terms) -> cohort (digest of terms and adverts) -> all that follows.
Sites that were shown different cohorts can neither read each other's shares nor cancel each other's masks.
"""

from collections.abc import Iterable, Mapping, Sized
from dataclasses import dataclass
from typing import Literal

from common.secagg.abort import Reason, refusal
from common.secagg.encoding import Item, digest, encode
from common.secagg.keys import Secret, agree, derive
from common.secagg.masks import MaskKeys
from common.secagg.messages import Advert
from common.secagg.terms import Terms, threshold

Purpose = Literal["words", "lanes"]
"""The update and the sums beside it are masked with keys of their own."""


@dataclass(frozen=True)
class Cohort:
    """The sites that advertised, as this party was shown them."""

    terms: Terms
    adverts: Mapping[int, Advert]
    digest: bytes

    @classmethod
    def of(cls, terms: Terms, adverts: Mapping[int, Advert]) -> "Cohort":
        """The cohort of `adverts`."""
        listed = [adverts[site].fields() for site in sorted(adverts)]
        return cls(terms, adverts, digest("SA-1 cohort", terms.digest(), listed))

    @property
    def sites(self) -> tuple[int, ...]:
        """Their places, in order."""
        return tuple(sorted(self.adverts))

    @property
    def threshold(self) -> int:
        """Sites that must reach the end."""
        return threshold(len(self.adverts))

    def require_threshold(self, sites: Sized) -> None:
        """Refuse to go on with fewer sites.

        Raises:
            AbortError: fewer than the threshold are left.
        """
        if len(sites) < self.threshold:
            raise refusal(
                Reason.THRESHOLD, f"{len(sites)} of {len(self.adverts)} sites, {self.threshold} are needed"
            )

    def require_survivors(self, survivors: Sized) -> None:
        """Refuse a sum over fewer sites than the threshold, or than the terms allow.

        Joint noise (`common.privacy.joint`) is sized for `min_sites` shares: a smaller sum is never unmasked.

        Raises:
            AbortError: so it is.
        """
        self.require_threshold(survivors)
        if len(survivors) < self.terms.min_sites:
            raise refusal(
                Reason.COHORT,
                f"a sum over {len(survivors)} sites, at least {self.terms.min_sites} are agreed",
            )


def advert_statement(terms: Terms, site: int, sealing_key: bytes, mask_key: bytes, commitment: bytes) -> Item:
    """What an advert's signature says."""
    return ("SA-1 advert", terms.digest(), site, sealing_key, mask_key, commitment)


def commitment_to(terms: Terms, site: int, seed: bytes) -> bytes:
    """Binds a site to its self seed without showing it."""
    return digest("SA-1 self seed", terms.digest(), site, seed)


def share_key(cohort: Cohort, secret: Secret, peer_key: bytes, *, sender: int, receiver: int) -> bytes:
    """Seals the shares that `sender` has for `receiver`; used once."""
    return derive(agree(secret, peer_key), cohort.digest, "SA-1 share", sender, receiver)


def share_header(cohort: Cohort, *, sender: int, receiver: int) -> bytes:
    """What is authenticated beside the sealed shares."""
    return encode(["SA-1 share", cohort.digest, sender, receiver])


def self_mask(cohort: Cohort, seed: bytes, site: int) -> bytes:
    """The seed of the mask that a site adds for itself."""
    return derive(seed, cohort.digest, "SA-1 self", site)


def pair_masks(cohort: Cohort, secret: Secret, site: int, peers: Iterable[int]) -> MaskKeys:
    """The seeds that `site` agreed with `peers`: of two sites the lower place adds, the higher subtracts."""
    plus: list[bytes] = []
    minus: list[bytes] = []
    for peer in sorted(peers):
        agreed = agree(secret, cohort.adverts[peer].mask_key)
        seed = derive(agreed, cohort.digest, "SA-1 pair", min(site, peer), max(site, peer))
        (plus if site < peer else minus).append(seed)
    return MaskKeys(tuple(plus), tuple(minus))


def stream_keys(seeds: MaskKeys, purpose: Purpose) -> MaskKeys:
    """The keys of the streams themselves."""
    return MaskKeys(
        tuple(derive(seed, b"SA-1.1 stream", purpose) for seed in seeds.plus),
        tuple(derive(seed, b"SA-1.1 stream", purpose) for seed in seeds.minus),
    )


def consent_statement(cohort: Cohort, senders: tuple[int, ...], survivors: tuple[int, ...]) -> Item:
    """What a site signs before it reveals anything."""
    return ("SA-1 consent", cohort.digest, senders, survivors)
