"""Small changes to a radiograph that change nothing a report says.

No flips: they contradict "left" and "right". No small crops: they cut out the finding.
Shapes: B images, C channels, S pixels a side.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

MAX_ROTATION = math.radians(7)
MAX_SHIFT = 0.08
"""Share of half the image side."""
MAX_ZOOM = 0.12
MAX_BRIGHTNESS = 0.08
"""Grey values in 0..1."""
MAX_CONTRAST = 0.2


def augment(images: Tensor, chance: torch.Generator) -> Tensor:
    """Rotate, shift, zoom, brighten and stretch each image a little, by its own draw.

    Args:
        images: (B, C, S, S) grey values in 0..1.
        chance: source of the draws; the same state gives the same images.

    Returns:
        (B, C, S, S) grey values in 0..1.
    """
    draws = torch.rand(len(images), 6, generator=chance) * 2 - 1
    grid = F.affine_grid(_moves(draws), list(images.shape), align_corners=False)
    moved = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    contrast = 1 + MAX_CONTRAST * draws[:, 4]
    brightness = MAX_BRIGHTNESS * draws[:, 5]
    middle = moved.mean(dim=(1, 2, 3), keepdim=True)
    return (
        (moved - middle) * contrast[:, None, None, None] + middle + brightness[:, None, None, None]
    ).clamp(0, 1)


def _moves(draws: Tensor) -> Tensor:
    """(B, 6) draws in -1..1 -> (B, 2, 3) affine maps."""
    angle = MAX_ROTATION * draws[:, 0]
    zoom = 1 + MAX_ZOOM * draws[:, 1]
    cosine, sine = zoom * angle.cos(), zoom * angle.sin()
    across, down = MAX_SHIFT * draws[:, 2], MAX_SHIFT * draws[:, 3]
    return torch.stack(
        [torch.stack([cosine, -sine, across], dim=1), torch.stack([sine, cosine, down], dim=1)], dim=1
    )
