"""What every party of the training benchmark is: a model's shape, a setting, pairs, and the step on them.

Shapes: B pairs, S pixels a side, T word pieces, E embedding width.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

PartyName = Literal["ours", "open_clip", "transformers"]
PARTIES: tuple[PartyName, ...] = ("ours", "open_clip", "transformers")

LEARNING_RATE, WEIGHT_DECAY, BETAS = 1e-4, 0.05, (0.9, 0.98)
PATCH_DROPOUT = 0.5
"""Of both, where each is at its best (Li et al. 2023, arXiv:2212.00794)."""
TEXT_BUCKETS = 4
TEMPERATURE = 0.07

LENGTHS = (3, 7, 8, 10, 13, 18, 28, 34, 40, 52, 77)
"""Deciles of the word pieces that a step shows of a report, by our own tokenizer: the findings of 1308 public
chest radiograph reports, half of them by one sentence, as is the default of `data.sentence_share`."""


@dataclass(frozen=True)
class Shape:
    """The model and the batch, the same for all parties."""

    image_size: int = 96
    patch_pixels: int = 8
    image_width: int = 256
    image_depth: int = 6
    text_width: int = 256
    text_depth: int = 4
    head_width: int = 64
    max_tokens: int = 77
    vocabulary: int = 8192
    embedding: int = 256
    batch_size: int = 32


@dataclass(frozen=True)
class Setting:
    """How a party trains."""

    at_best: bool = False
    """Half of the patches dropped and reports as long as they are, as far as the party offers it; else whole
    images and reports that fill T."""
    precision: Literal["auto", "fp32"] = "fp32"
    """`auto`: bfloat16 where the hardware multiplies it."""
    compiled: bool = False
    threads: int = 1
    chunks: int = 1
    """Chunks of B pairs that make one batch, by the party's own means: caching, or accumulation."""


@dataclass(frozen=True)
class Pairs:
    """What all parties are given; each pads, marks and packs it in its own way before the clock runs."""

    images: Tensor
    """(B, 3, S, S) grey values in 0..1, the same in each channel or not."""
    tokens: Tensor
    """(B, T) word pieces."""
    lengths: Tensor
    """(B,) how many of them are the report's."""


@dataclass(frozen=True)
class Party:
    """A model, how it is trained, what it says, and its temperature's parameter."""

    model: nn.Module
    step: Callable[[Pairs, float], None]
    """Train on pairs at a learning rate; ends with the gradients still in place."""
    log_scale: nn.Parameter
    embed_images: Callable[[Tensor], Tensor]
    """(B, 3, S, S) -> (B, E) of any length."""
    embed_texts: Callable[[Tensor, Tensor], Tensor]
    """(B, T) word pieces and (B,) lengths -> (B, E) of any length."""
    full_step: Callable[[Pairs], None] | None = None
    """The gradient of all chunks as one batch, without an optimiser's step; None where `step` is that."""


def made_up_pairs(shape: Shape, rows: int, *, whole_reports: bool) -> Pairs:
    """B `rows` of noise, with reports that fill T or are as long as real ones; the same on every call."""
    chance = torch.Generator().manual_seed(0)
    images = torch.rand(rows, 3, shape.image_size, shape.image_size, generator=chance)
    tokens = torch.randint(5, shape.vocabulary - 1, (rows, shape.max_tokens), generator=chance)
    if whole_reports:
        return Pairs(images, tokens, torch.full((rows,), shape.max_tokens))
    place = torch.rand(rows, generator=chance) * (len(LENGTHS) - 1)
    below = place.long().clamp(max=len(LENGTHS) - 2)
    deciles = torch.tensor(LENGTHS, dtype=torch.float32)
    lengths = deciles[below] + (place - below) * (deciles[below + 1] - deciles[below])
    return Pairs(images, tokens, lengths.round().long().clamp(max=shape.max_tokens))
