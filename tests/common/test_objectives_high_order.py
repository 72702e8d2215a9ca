import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from common.objectives.contrastive import contrastive_loss
from common.objectives.high_order import multilinear_loss
from common.seeds import generator

UNIT_SCALE = torch.zeros(1)


def unit(rows: int, width: int, seed: int) -> Tensor:
    return F.normalize(torch.randn(rows, width, generator=generator(seed)), dim=-1)


@given(st.integers(0, 2**32), st.floats(0, 4))
@settings(max_examples=20, deadline=None)
def test_of_two_modalities_it_is_the_contrastive_loss(seed: int, log_scale: float) -> None:
    image, report = unit(5, 4, seed), unit(5, 4, seed + 1)
    scale = torch.tensor([log_scale])
    torch.testing.assert_close(
        multilinear_loss([image, report], scale), contrastive_loss(image, report, scale, torch.eye(5))
    )


@pytest.mark.parametrize("modalities", [2, 3, 4])
def test_modalities_that_say_nothing_cost_log_b(modalities: int) -> None:
    same = F.normalize(torch.ones(6, 8), dim=-1)
    assert multilinear_loss([same] * modalities, UNIT_SCALE).item() == pytest.approx(math.log(6))


@pytest.mark.parametrize("modalities", [2, 3, 4])
def test_the_product_of_even_vectors_reaches_one_whatever_their_number(modalities: int) -> None:
    # Two rows of opposite sign: for an odd number of modalities the product keeps the sign.
    even = F.normalize(torch.ones(1, 8), dim=-1)
    rows = [torch.cat([even, -even])] + [torch.cat([even, even])] * (modalities - 1)
    logits_gap = 2.0  # 1 - (-1), scale 1
    asked_first = math.log(1 + math.exp(-0.0))
    other = math.log(1 + math.exp(-logits_gap)), math.log(1 + math.exp(logits_gap))
    # The sign modality asks partners that are all alike: log 2. The others ask products of sign +1 and -1.
    expected = (asked_first + (modalities - 1) * sum(other) / 2) / modalities
    assert multilinear_loss(rows, UNIT_SCALE).item() == pytest.approx(expected, rel=1e-5)


@given(st.integers(0, 2**32))
@settings(max_examples=15, deadline=None)
def test_modalities_may_change_places(seed: int) -> None:
    a, b, c = (unit(5, 4, seed + i) for i in range(3))
    torch.testing.assert_close(
        multilinear_loss([a, b, c], UNIT_SCALE), multilinear_loss([c, a, b], UNIT_SCALE)
    )


def learn_xor(kind: str, steps: int = 300) -> float:
    """Train three towers on bits with c = a xor b; how often the right c is told from the wrong one."""
    chance = generator(0, kind)
    towers = [nn.Embedding(2, 16) for _ in range(3)]
    for tower in towers:
        nn.init.normal_(tower.weight, generator=chance)
    optimizer = torch.optim.Adam([p for tower in towers for p in tower.parameters()], lr=0.05)
    scale = torch.tensor([math.log(5.0)])
    for _ in range(steps):
        a, b = (torch.randint(0, 2, (32,), generator=chance) for _ in range(2))
        z = [F.normalize(tower(bit), dim=-1) for tower, bit in zip(towers, (a, b, a ^ b), strict=True)]
        if kind == "multilinear":
            loss = multilinear_loss(z, scale)
        else:
            pairs = [(z[0], z[1]), (z[0], z[2]), (z[1], z[2])]
            loss = torch.stack([contrastive_loss(x, y, scale, torch.eye(32)) for x, y in pairs]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    a, b = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
    with torch.no_grad():
        x, y = (F.normalize(tower(bit), dim=-1) for tower, bit in zip(towers, (a, b), strict=False))
        third = F.normalize(towers[2].weight, dim=-1)
        score = (x * y) @ third.T if kind == "multilinear" else (x + y) @ third.T
        return float((score.argmax(dim=1) == a ^ b).float().mean())


def test_what_only_three_say_together_is_learned_by_the_product_and_not_by_pairs() -> None:
    assert learn_xor("multilinear") == 1.0
    assert learn_xor("pairwise") <= 0.75
