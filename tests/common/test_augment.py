import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from common.data.augment import MAX_BRIGHTNESS, MAX_SHIFT, augment
from common.seeds import generator

seeds = st.integers(0, 2**32)


def noise(seed: int, *, rows: int = 3, size: int = 16) -> Tensor:
    return torch.rand(rows, 1, size, size, generator=generator(seed, "images"))


@given(seeds)
def test_grey_values_stay_in_range_and_the_input_is_untouched(seed: int) -> None:
    images = noise(seed)
    before = images.clone()
    changed = augment(images, generator(seed))
    assert changed.shape == images.shape
    assert 0 <= changed.min() <= changed.max() <= 1
    assert torch.equal(images, before)
    assert not torch.equal(changed, images)


@given(seeds)
def test_the_same_state_gives_the_same_images(seed: int) -> None:
    assert torch.equal(augment(noise(seed), generator(seed)), augment(noise(seed), generator(seed)))


@given(seeds, st.floats(0.1, 0.9))
def test_a_flat_image_stays_flat_within_the_bound_of_brightness(seed: int, grey: float) -> None:
    changed = augment(torch.full((2, 1, 8, 8), grey), generator(seed))
    for image in changed:
        assert image.max() - image.min() < 1e-6
        assert abs(image.mean().item() - grey) <= MAX_BRIGHTNESS + 1e-6


@given(seeds)
def test_left_stays_left_and_top_stays_top(seed: int) -> None:
    images = torch.zeros(4, 1, 32, 32)
    images[:, :, 4:12, 4:12] = 1.0
    for image in augment(images, generator(seed))[:, 0]:
        assert image[:16, :16].sum() > image[:16, 16:].sum()
        assert image[:16, :16].sum() > image[16:, :16].sum()


def test_images_of_a_batch_have_draws_of_their_own() -> None:
    same = noise(0, rows=1).expand(4, -1, -1, -1)
    changed = augment(same, generator(0))
    assert len({image.sum().item() for image in changed}) == 4


def test_no_draw_at_all_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    images = noise(0)
    monkeypatch.setattr(torch, "rand", lambda *size, generator: torch.full(size, 0.5))
    assert torch.allclose(augment(images, generator(0)), images, atol=1e-5)


def test_the_largest_shift_moves_the_middle_by_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    def rightmost(*size: int, generator: torch.Generator) -> Tensor:
        draws = torch.full(size, 0.5)
        draws[:, 2] = 1.0
        return draws

    size = 64
    image = torch.zeros(1, 1, size, size)
    image[..., 24:40, 24:40] = 1.0
    monkeypatch.setattr(torch, "rand", rightmost)
    columns = augment(image, generator(0))[0, 0].sum(dim=0)
    centre = (columns * torch.arange(size)).sum() / columns.sum()
    assert centre.item() == pytest.approx((size - 1) / 2 - MAX_SHIFT * size / 2, abs=1e-3)
