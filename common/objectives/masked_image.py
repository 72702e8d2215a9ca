"""Masked image modelling: see a quarter of the patches, draw the rest.

Source: He et al. 2022, arXiv:2111.06377. Shapes: B images, N patches, K visible ones, P values a patch.
"""

import torch
from torch import Tensor, nn

from common.data.batch import Batch
from common.model.encoders import Block, normalise, patch_pixels, patches, sine_positions
from common.objectives.base import Loss, Objective, Views
from common.spec.model import ModelSpec
from common.spec.objectives import MaskedImageSpec

FLAT_PATCH_VARIANCE = 1e-6
"""Added to a patch's variance, so that a flat patch (a black border) gives finite targets."""


class MaskedImage(Objective):
    """A light decoder predicts the normalised pixels of the hidden patches."""

    needs = frozenset({"image_masked"})
    couples_rows = False
    positions: Tensor

    def __init__(
        self, spec: MaskedImageSpec, model: ModelSpec, image_width: int, channels: int, *, sees_hidden: bool
    ) -> None:
        super().__init__()
        self.side = patch_pixels(model.image)
        self.enter = nn.Linear(image_width, spec.decoder_width)
        if not sees_hidden:
            self.hidden_patch = nn.Parameter(torch.zeros(spec.decoder_width))
        grid = model.image_size // self.side
        self.register_buffer("positions", sine_positions(grid, spec.decoder_width), persistent=False)
        self.blocks = nn.ModuleList(
            Block(spec.decoder_width, spec.decoder_heads) for _ in range(spec.decoder_depth)
        )
        self.norm = nn.LayerNorm(spec.decoder_width)
        self.pixels = nn.Linear(spec.decoder_width, channels * self.side**2)

    def loss(self, views: Views, batch: Batch) -> Loss | None:
        """Mean squared error per hidden pixel, over the masked rows that have an image."""
        if views.image_masked is None or batch.masked_images is None or batch.visible_patches is None:
            return None
        present = batch.has_image[batch.masked_images]
        rows = int(present.sum())
        if rows == 0:
            return None
        keep = batch.visible_patches[present]
        predicted = self._decode(views.image_masked.x[present], keep)
        truth = normalised_patches(batch.images[batch.masked_images][present], self.side)
        error = (predicted.float() - truth).square().mean(dim=-1)
        hidden = torch.ones_like(error).scatter(1, keep, 0.0)
        return Loss((error * hidden).sum() / hidden.sum(), rows)

    def units(self, batch: Batch) -> int:
        """Masked rows that have an image; each hides as many pixels."""
        rows = batch.masked_images
        return 0 if rows is None else int(batch.has_image[rows].sum())

    def _decode(self, visible: Tensor, keep: Tensor) -> Tensor:
        """Tokens of visible patches (B, K, D) or of all cells (B, N, D) -> (B, N, P) pixels of all."""
        x = self.enter(visible)
        total = self.positions.shape[0]
        if x.shape[1] < total:
            hidden = self.hidden_patch.to(x.dtype).expand(len(x), total, -1)
            x = hidden.scatter(1, keep[..., None].expand(-1, -1, x.shape[-1]), x)
        x = x + self.positions
        for block in self.blocks:
            x = block(x)
        pixels: Tensor = self.pixels(self.norm(x))
        return pixels


def normalised_patches(images: Tensor, side: int) -> Tensor:
    """(B, C, S, S) -> (B, N, P) each patch with zero mean and unit variance."""
    cut = patches(normalise(images), side)
    spread = (cut.var(dim=-1, keepdim=True, unbiased=False) + FLAT_PATCH_VARIANCE).sqrt()
    return (cut - cut.mean(dim=-1, keepdim=True)) / spread
