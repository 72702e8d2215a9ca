"""What a round is about: fixed before it begins, known to every party by itself, and part of every key."""

from dataclasses import dataclass
from typing import Literal

from common.secagg.encoding import digest
from common.spec.secure_aggregation import SMALLEST_COHORT
from common.update import Profile


@dataclass(frozen=True)
class Terms:
    """A site writes them down from its own project, roster and instruction, never from a message.

    Two parties with different terms cannot finish a round: signatures, sealed shares and masks all depend on
    `digest`.
    """

    run: bytes
    """Digest of the approved project."""
    round: int
    attempt: int
    """From 1, higher than any before it in the run, also those of other rounds: a round that was aborted is
    tried again under another number."""
    roster: bytes
    """Digest of the approved roster."""
    model: bytes
    """Digest of the model that the sites trained from."""
    bounds: bytes
    """Digest of the clip table."""
    coordinates: int
    lanes: int
    """Sums of 64 bits that travel beside the update."""
    word_bits: Literal[16, 24]
    levels: int
    min_sites: int
    """Fewer sites than this are never summed, whoever drops out on the way."""

    def __post_init__(self) -> None:
        assert self.min_sites >= SMALLEST_COHORT

    @property
    def profile(self) -> Profile:
        """How words are packed."""
        return Profile(self.word_bits, self.levels)

    def digest(self) -> bytes:
        """SHA-256 over all of them."""
        return digest(
            "SA-1.1 terms",
            self.run,
            self.round,
            self.attempt,
            self.roster,
            self.model,
            self.bounds,
            self.coordinates,
            self.lanes,
            self.word_bits,
            self.levels,
            self.min_sites,
        )


def threshold(sites: int) -> int:
    """Sites that must reach the end: floor(2n/3) + 1.

    More than two thirds, so that no two groups of this size can be told apart by a hub that shows them
    different survivors: they share an honest site as long as fewer than a third of the sites are corrupt.
    """
    return 2 * sites // 3 + 1
