import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import stir
from torch import Tensor

from common.model.encoders import Tokens
from common.model.fusion import Fused, Fusion
from common.seeds import generator
from common.spec.model import FusionSpec

YES = torch.ones(3, dtype=torch.bool)


def build(kind: str) -> Fusion:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        fusion = Fusion(
            FusionSpec(kind=kind, width=8, depth=2, heads=2, pseudo_tokens=2, pseudo_pool=5), 6, 4
        )
    stir(fusion)
    return fusion


def tokens(seed: int, length: int, width: int, real: int | None = None) -> Tokens:
    x = torch.randn(3, length, width, generator=generator(seed))
    mask = (torch.arange(length) < (real or length)).expand(3, -1)
    return Tokens(x, mask, x.mean(dim=1))


def real_part(fused: Fused) -> Tensor:
    return torch.cat([fused.image.x[fused.image.mask], fused.text.x[fused.text.mask]])


@pytest.mark.parametrize("kind", ["early", "late"])
@given(seed=st.integers(0, 2**32))
@settings(max_examples=10, deadline=None)
def test_what_stands_in_padding_changes_nothing(kind: str, seed: int) -> None:
    fusion = build(kind)
    image, text = tokens(seed, 4, 6), tokens(seed + 1, 5, 4, real=3)
    noise = torch.where(text.mask[..., None], text.x, torch.randn(text.x.shape))
    fused = fusion(image, text, YES, YES)
    again = fusion(image, Tokens(noise, text.mask, text.pooled), YES, YES)
    torch.testing.assert_close(real_part(again), real_part(fused))
    torch.testing.assert_close(again.pooled, fused.pooled)


@pytest.mark.parametrize("kind", ["early", "late"])
@pytest.mark.parametrize("missing", ["image", "text"])
def test_a_missing_side_is_pseudo_tokens_and_gets_no_gradient(kind: str, missing: str) -> None:
    fusion = build(kind)
    image, text = tokens(1, 4, 6), tokens(2, 5, 4)
    image.x.requires_grad_()
    text.x.requires_grad_()
    no = ~YES
    fused = fusion(image, text, no if missing == "image" else YES, no if missing == "text" else YES)
    fused.pooled.sum().backward()
    absent, present = (image, text) if missing == "image" else (text, image)
    assert present.x.grad is not None
    assert present.x.grad.any()
    assert absent.x.grad is None or not absent.x.grad.any()
    used, unused = fusion.pseudo_image, fusion.pseudo_text
    used, unused = (used, unused) if missing == "image" else (unused, used)
    assert used.pool.grad is not None
    assert used.pool.grad.any()
    assert unused.pool.grad is None or not unused.pool.grad.any()


@pytest.mark.parametrize("kind", ["early", "late"])
def test_image_and_report_hear_each_other(kind: str) -> None:
    fusion = build(kind)
    image, text = tokens(1, 4, 6), tokens(2, 5, 4)
    other = tokens(3, 5, 4)
    assert not torch.allclose(fusion(image, text, YES, YES).image.x, fusion(image, other, YES, YES).image.x)


def test_pseudo_tokens_are_chosen_by_what_is_there() -> None:
    fusion = build("late")
    nearest = fusion.pseudo_image.pool[3].detach()
    hint = (10 * nearest).expand(3, -1)
    x, mask = fusion.pseudo_image.fill(
        torch.zeros(3, 4, 8), torch.ones(3, 4, dtype=torch.bool), ~YES, hint=hint
    )
    assert mask.tolist() == [[False] * 4 + [True] * 2] * 3
    assert any(torch.equal(x[0, 4 + i], nearest) for i in range(2))
