"""`[train]`: the steps that each site takes."""

from typing import Literal

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from common.spec.section import Section, Share


class TrainSpec(Section):
    """Local training."""

    local_steps: PositiveInt
    """Optimiser steps at each site in a round, whatever its size."""
    learning_rate: PositiveFloat = 1e-3
    final_learning_rate_share: Share = 0.05
    """Where the cosine ends, as a share of `learning_rate`."""
    warmup_share: Share = 0.05
    """Share of all steps over which the rate rises linearly from zero."""
    round_warmup_steps: NonNegativeInt = 5
    """First steps of every round over which the rate rises to the cosine's: AdamW starts each round without
    knowing the size of its gradients, and full steps then undo what the round before learned."""
    weight_decay: NonNegativeFloat = 0.05
    gradient_norm: PositiveFloat = 1.0
    precision: Literal["bf16", "fp32"] = "bf16"
    threads: PositiveInt = 1
    """CPU threads of one site; part of the spec because sums depend on it in the last bit."""
