"""`[train]`: the steps that each site takes."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

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
    """Length that the gradient of a step is cut to. Private steps cut that of every patient or group to 1
    instead, and take no other number here."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the learning rate that is left one layer further from a tower's output; 1 for one rate."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """A round ends with the exponential mean of its weights, of which a step keeps this share; 0 for none."""
    chunk_rows: PositiveInt | None = None
    """Rows that the towers see at a time. The gradient is that of the whole batch whatever this is; fewer
    rows need less memory, and one more forward pass. Absent: the whole batch at once."""
    accumulate_batches: PositiveInt = 1
    """Batches whose mean gradient makes one step; unlike rows of one batch, they are not told apart."""
    text_buckets: PositiveInt = 1
    """Groups of like length in which a batch's reports are read, each padded to its own longest; cut so that
    padding is least."""
    patch_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of patches that the image tower does not see in training (Li et al. 2023, arXiv:2212.00794)."""
    whole_images_share: Share = 0.1
    """Last share of all steps in which it sees every patch again, as it will when it is used."""
    gradient_checkpointing: bool = False
    """Layers are run again in the backward pass instead of remembered: less memory, a third more time."""
    compile: bool = False
    """Towers through `torch.compile`: worth its minute or two on long rounds; needs a C++ compiler."""
    vocabulary_rows: Literal["trained", "frozen"] = "trained"
    """`frozen`: what belongs to one word piece alone, its embedding and its bias, stays as it began."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """`auto`: bf16 where hardware multiplies it, fp32 elsewhere: emulated, it takes four times as long. Then
    a run repeats to the bit on machines of one kind only; name one of the others where all must agree."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """`auto`: a CUDA GPU where there is one, the CPU elsewhere and for private steps."""
    deterministic: bool = True
    """On a GPU only algorithms that repeat to the bit."""
    threads: PositiveInt = 1
    """CPU threads of one process; part of the spec because sums depend on it in the last bit."""
    processes: PositiveInt = 1
    """Processes of one site that share each batch: one per GPU, or per group of CPU cores."""
    save_every_steps: NonNegativeInt = 0
    """Every so many steps a site that has a home folder writes its state there, and goes on from it if it is
    killed; 0 for never."""

    @property
    def starts_programs(self) -> bool:
        """Whether training needs other processes, and connections to them on the same machine."""
        return self.compile or self.processes > 1
