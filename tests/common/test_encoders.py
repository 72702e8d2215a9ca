import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import stir, tiny_spec
from torch import Tensor, nn

from common.model.encoders import (
    Block,
    ResNet,
    TextTransformer,
    Tokens,
    VisionTransformer,
    attention,
    normalise,
    paint_over,
    patch_pixels,
    patches,
    sine_positions,
)
from common.model.vlp import build_model
from common.seeds import generator
from common.spec.model import ImageEncoderSpec, TextEncoderSpec
from common.spec.run import Spec

SIZE = 32
SPECS = [
    ImageEncoderSpec(encoder="vit", width=16, depth=1, heads=2, patch_pixels=8),
    ImageEncoderSpec(encoder="resnet", width=16, depth=1),
]
both_towers = pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.encoder)


def tower(spec: ImageEncoderSpec, channels: int = 1) -> VisionTransformer | ResNet:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        built = (
            VisionTransformer(spec, SIZE, channels) if spec.encoder == "vit" else ResNet(spec, channels)
        ).eval()
    stir(built)
    return built


def images(rows: int = 2, *, seed: int = 0) -> Tensor:
    return torch.rand(rows, 1, SIZE, SIZE, generator=generator(seed, "images"))


def reader() -> TextTransformer:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        spec = TextEncoderSpec(width=16, depth=2, heads=2, max_tokens=12, vocabulary_size=64)
        built = TextTransformer(spec, 40).eval()
    stir(built)
    return built


@both_towers
def test_every_channel_is_seen(spec: ImageEncoderSpec) -> None:
    see = tower(spec, channels=3)
    picture = torch.rand(1, 3, SIZE, SIZE, generator=generator(0, "images"))
    for channel in range(3):
        other = picture.clone()
        other[:, channel] = other[:, channel].flip(-1)
        assert not torch.allclose(see(picture).pooled, see(other).pooled, atol=1e-3)


@both_towers
def test_an_image_becomes_a_token_per_patch_and_one_vector(spec: ImageEncoderSpec) -> None:
    said: Tokens = tower(spec)(images())
    cells = (SIZE // patch_pixels(spec)) ** 2
    assert said.x.shape == (2, cells, 16)
    assert said.mask.shape == (2, cells)
    assert said.mask.all()
    assert said.pooled.shape == (2, 16)


@both_towers
def test_an_image_is_encoded_by_itself(spec: ImageEncoderSpec) -> None:
    together, alone = tower(spec)(images(3)), tower(spec)(images(3)[1:2])
    assert torch.allclose(together.pooled[1:2], alone.pooled, atol=1e-5)


@both_towers
def test_hidden_patches_are_not_seen(spec: ImageEncoderSpec) -> None:
    side = patch_pixels(spec)
    keep = torch.tensor([[0, 5, 9], [3, 7, 15]])
    first = images()
    # Exchanging two hidden patches keeps the image's mean and variance.
    other = first.clone()
    one, two = (0, 1), (2, 2)  # row and column: patches 1 and 10, hidden in both images
    for (r, c), (from_r, from_c) in ((one, two), (two, one)):
        source = first[..., from_r * side : (from_r + 1) * side, from_c * side : (from_c + 1) * side]
        other[..., r * side : (r + 1) * side, c * side : (c + 1) * side] = source
    see = tower(spec)
    assert not torch.allclose(see(first).pooled, see(other).pooled, atol=1e-4)
    assert torch.allclose(see(first, keep).pooled, see(other, keep).pooled, atol=1e-5)
    assert torch.allclose(see(first, keep).x, see(other, keep).x, atol=1e-5)


def test_the_vit_gives_tokens_of_the_patches_it_saw_only() -> None:
    assert tower(SPECS[0])(images(), torch.tensor([[0, 3], [1, 2]])).x.shape == (2, 2, 16)


@both_towers
def test_gradients_reach_every_weight(spec: ImageEncoderSpec) -> None:
    see = tower(spec)
    said = see(images())
    (said.pooled.square().sum() + said.x.square().sum()).backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in see.parameters())


@both_towers
def test_exposure_does_not_matter_within_a_hundredth(spec: ImageEncoderSpec) -> None:
    see = tower(spec)
    darker = images() * 0.5 + 0.2
    assert torch.allclose(see(images()).pooled, see(darker).pooled, atol=2e-2)


@both_towers
def test_an_image_without_contrast_stays_finite(spec: ImageEncoderSpec) -> None:
    for grey in (0.0, 1.0):
        flat = torch.full((2, 1, SIZE, SIZE), grey, requires_grad=True)
        pooled = tower(spec)(flat).pooled
        pooled.sum().backward()
        assert pooled.isfinite().all()
        assert flat.grad is not None
        assert flat.grad.isfinite().all()


def test_reports_are_read_without_their_padding() -> None:
    read = reader()
    tokens = torch.tensor([[2, 7, 8, 9, 3]])
    padded = F.pad(tokens, (0, 4))
    short = read(tokens, torch.ones(1, 5, dtype=torch.bool))
    long = read(padded, padded != 0)
    assert torch.allclose(short.pooled, long.pooled, atol=1e-6)
    assert torch.allclose(short.x, long.x[:, :5], atol=1e-6)
    assert long.mask.tolist() == [[True] * 5 + [False] * 4]


def test_words_are_read_in_their_order() -> None:
    read = reader()
    seen = torch.ones(1, 4, dtype=torch.bool)
    assert not torch.allclose(
        read(torch.tensor([[2, 7, 8, 3]]), seen).pooled, read(torch.tensor([[2, 8, 7, 3]]), seen).pooled
    )


def test_a_report_is_read_by_itself() -> None:
    read, tokens = reader(), torch.tensor([[2, 7, 8, 3], [2, 9, 3, 0], [2, 3, 0, 0]])
    together = read(tokens, tokens != 0)
    for row in range(3):
        alone = read(tokens[row : row + 1], tokens[row : row + 1] != 0)
        assert torch.allclose(together.pooled[row], alone.pooled[0], atol=1e-6)


@given(
    seed=st.integers(0, 2**32),
    length=st.integers(1, 9),
    heads=st.sampled_from([1, 2, 4]),
    masked=st.booleans(),
)
@settings(max_examples=30, deadline=None)
def test_attention_agrees_with_torch(seed: int, length: int, heads: int, masked: bool) -> None:
    q, k, v = torch.randn(3, 2, heads, length, 4, generator=generator(seed)).unbind()
    allowed = None
    if masked:
        allowed = torch.rand(2, 1, 1, length, generator=generator(seed, "mask")) < 0.5
        allowed[..., 0] = True
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
    assert torch.allclose(attention(q, k, v, allowed), expected, atol=1e-5)


def test_a_block_without_a_mask_is_one_with_nothing_masked() -> None:
    block, x = Block(8, 2), torch.randn(2, 5, 8)
    stir(block)
    assert torch.allclose(block(x), block(x, torch.ones(2, 5, dtype=torch.bool)), atol=1e-6)


def test_patches_are_cut_row_by_row_and_fold_back() -> None:
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert patches(image, 2)[0].tolist() == [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]
    whole = images()
    folded = F.fold(patches(whole, 8).transpose(1, 2), (SIZE, SIZE), kernel_size=8, stride=8)
    assert torch.equal(folded, whole)


def test_painting_over_leaves_the_kept_patches_alone() -> None:
    keep = torch.tensor([[0, 5], [14, 15]])
    painted = patches(paint_over(images(), keep, 8), 8)
    for row, kept in enumerate(keep.tolist()):
        hidden = [patch for patch in range(16) if patch not in kept]
        assert torch.equal(painted[row, kept], patches(images(), 8)[row, kept])
        assert (painted[row, hidden] == 0).all()


@given(st.integers(0, 2**32), st.floats(0.05, 1), st.floats(0, 0.5))
@settings(max_examples=30, deadline=None)
def test_normalised_images_have_mean_zero_and_variance_at_most_one(
    seed: int, gain: float, offset: float
) -> None:
    plain = normalise(images(seed=seed) * gain + offset)
    assert torch.allclose(plain.mean(dim=(1, 2, 3)), torch.zeros(2), atol=1e-4)
    variance = plain.var(dim=(1, 2, 3), correction=0)
    assert ((variance > 0.5) & (variance <= 1 + 1e-4)).all()


@pytest.mark.parametrize(("grid", "width"), [(2, 8), (8, 16), (4, 10)])
def test_every_cell_has_a_position_of_its_own(grid: int, width: int) -> None:
    positions = sine_positions(grid, width)
    assert positions.shape == (grid * grid, width)
    assert (torch.cdist(positions, positions) + torch.eye(grid * grid) > 1e-2).all()
    assert positions.abs().max() <= 1


def test_a_resnet_sees_past_the_contrast_of_a_scanner() -> None:
    tower = ResNet(ImageEncoderSpec(encoder="resnet", width=16, depth=1), 1)
    stir(tower)
    images = torch.rand(3, 1, SIZE, SIZE, generator=generator(2))
    torch.testing.assert_close(tower(images).pooled, tower(0.2 + 0.5 * images).pooled, rtol=0, atol=5e-3)


def test_a_resnet_knows_where_in_the_image_something_lies() -> None:
    tower = ResNet(ImageEncoderSpec(encoder="resnet", width=16, depth=1), 1)
    stir(tower)
    images = torch.zeros(2, 1, SIZE, SIZE)
    images[0, :, :8, :8], images[1, :, 16:24, 16:24] = 1.0, 1.0
    first, second = tower(images).pooled
    assert not torch.allclose(first, second, atol=1e-2)


@pytest.mark.parametrize("encoder", ["vit", "resnet"])
def test_nothing_in_the_model_keeps_running_statistics(encoder: str) -> None:
    model = build_model(image_spec(encoder), 64)
    assert not any(isinstance(module, nn.modules.batchnorm._NormBase) for module in model.modules())
    assert dict(model.named_parameters()).keys() == model.state_dict().keys()


@pytest.mark.parametrize("encoder", ["vit", "resnet"])
def test_a_fresh_model_is_a_function_of_the_seed_alone(encoder: str) -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    one = build_model(image_spec(encoder), 64).state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    other = build_model(image_spec(encoder), 64).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    another = build_model(image_spec(encoder, seed=8), 64).state_dict()
    assert not all(torch.equal(one[name], another[name]) for name in one)


@pytest.mark.parametrize("encoder", ["vit", "resnet"])
def test_embeddings_are_unit_rows(encoder: str) -> None:
    spec = image_spec(encoder)
    model = build_model(spec, 64)
    seen = model.embed_images(torch.rand(3, 1, 16, 16))
    read = model.embed_texts(torch.tensor([[2, 7, 3], [2, 8, 3]]), torch.ones(2, 3, dtype=torch.bool))
    assert seen.shape == (3, spec.model.embedding_width)
    assert torch.allclose(seen.norm(dim=1), torch.ones(3), atol=1e-5)
    assert torch.allclose(read.norm(dim=1), torch.ones(2), atol=1e-5)


def image_spec(encoder: str, *, seed: int = 7) -> Spec:
    return tiny_spec(model__image__encoder=encoder, seed=seed)
