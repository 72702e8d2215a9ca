"""Hidden parts of an image are drawn from what is seen of it, by a ViT and by a ResNet."""

from typing import Any

import pytest
import torch
from tiny import tiny_spec
from torch import Tensor

from common.data.batch import Batch
from common.data.layout import visible_patches
from common.model.vlp import build_model
from common.spec.run import Spec

pytestmark = pytest.mark.slow
SIDE, ROWS, STEPS = 32, 32, 400


def gratings(rows: int, chance: torch.Generator) -> Tensor:
    """(B, 1, S, S) waves of one direction, length and phase each: a few patches tell all the others."""
    across = torch.arange(SIDE) / SIDE
    angle, phase = (6.28 * torch.rand(rows, 1, 1, generator=chance) for _ in range(2))
    place = across[None, None] * angle.cos() + across[None, :, None] * angle.sin()
    return (0.5 + 0.4 * (2 * 6.28 * place + phase).sin())[:, None]


def hidden(spec: Spec, chance: torch.Generator) -> Batch:
    everyone = torch.arange(ROWS)
    return Batch(
        images=gratings(ROWS, chance),
        has_image=torch.ones(ROWS, dtype=torch.bool),
        tokens=torch.zeros(ROWS, 2, dtype=torch.long),
        token_mask=torch.ones(ROWS, 2, dtype=torch.bool),
        has_text=torch.zeros(ROWS, dtype=torch.bool),
        study=everyone,
        masked_images=everyone,
        visible_patches=visible_patches(spec, ROWS, 0.75, chance),
    )


@pytest.mark.parametrize(
    "tower",
    [
        {"encoder": "vit", "width": 64, "depth": 2, "heads": 4, "patch_pixels": 8},
        {"encoder": "resnet", "width": 64, "depth": 1},
    ],
    ids=["masked-autoencoder", "painted-resnet"],
)
def test_hidden_patches_are_drawn_a_fifth_better_than_by_their_mean(tower: dict[str, Any]) -> None:
    """A patch's mean costs one; see `test_a_predictor_of_zeros_costs_one`."""
    spec = tiny_spec(
        model__image_size=SIDE,
        model__image=tower,
        objectives={"masked_image": {"ratio": 0.75, "decoder_width": 64}},
        data__anchor_pairs=0,
    )
    model = build_model(spec, 64)
    chance = torch.Generator().manual_seed(0)
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(STEPS):
        optimiser.zero_grad()
        model.total(model.losses(hidden(spec, chance))).backward()
        optimiser.step()
    with torch.no_grad():
        cost = model.eval().losses(hidden(spec, torch.Generator().manual_seed(1)))["masked_image"].mean
    assert cost < 0.8
