"""`[secure_aggregation]`: what the hub sees of one site's update; nothing here has a default."""

from typing import Annotated, Literal

from pydantic import Field

from common.spec.section import Section

SMALLEST_COHORT = 3
"""With two sites, a hospital subtracts itself from the sum and reads the other."""


class NoSecureAggregationSpec(Section):
    """`off` says in writing that the hub sees each site's update."""

    mode: Literal["off"]


class SA1Spec(Section):
    """The hub sees sums of updates, counts and losses over a cohort, and nothing of one site."""

    mode: Literal["sa1"]
    min_sites: Annotated[int, Field(ge=SMALLEST_COHORT)]
    """Fewer sites than this are never summed."""
    rare_rows: Literal["frozen", "noise"]
    """What keeps the row of a word that one hospital alone uses from standing out of a sum: vocabulary rows
    that are not trained (`train.vocabulary_rows = "frozen"`), or the noise of `[privacy]`."""


SecureAggregationSpec = Annotated[NoSecureAggregationSpec | SA1Spec, Field(discriminator="mode")]

SECURE_AGGREGATION_MODES = ("off", "sa1")
