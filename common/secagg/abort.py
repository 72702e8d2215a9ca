"""Why a party leaves a round of secure aggregation: one reason of a short list, and words for its own log."""

from enum import StrEnum

from common.errors import IntegrityError


class Reason(StrEnum):
    """What the other side may learn of a refusal."""

    MALFORMED = "malformed-message"
    OUT_OF_ORDER = "out-of-order"
    REPLAYED = "replayed-round"
    ROSTER = "roster-not-approved"
    TERMS = "terms-differ"
    COHORT = "cohort-too-small"
    STRANGER = "site-outside-the-round"
    OWN_ENTRY = "own-entry-changed"
    SIGNATURE = "bad-signature"
    KEY = "unusable-key"
    SHARE = "share-does-not-authenticate"
    THRESHOLD = "below-threshold"
    WRAP = "sum-could-wrap"
    VECTOR = "vector-does-not-fit"
    SECOND_COHORT = "second-cohort-on-one-model"
    CORRUPT_SHARE = "shares-do-not-match-their-commitment"


class AbortError(IntegrityError):
    """A party refuses to go on with a round; every secret of the round is forgotten."""

    @property
    def reason(self) -> str:
        """The reason's code, which is all that leaves."""
        return self.outward


def refusal(reason: Reason, words: str) -> AbortError:
    """To be raised: `words` stay here, the reason's code goes out."""
    return AbortError(f"secure aggregation stopped ({reason}): {words}", outward=reason.value)
