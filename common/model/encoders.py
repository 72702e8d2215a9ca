"""The towers: a ViT, a GroupNorm ResNet and a text transformer, all returning `Tokens`.

No BatchNorm anywhere: its running statistics neither average over hospitals nor allow per-patient gradients.
Shapes: B images or reports, N tokens, D width, C channels, S pixels a side, T word pieces.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.model.prompts import mask_with_prompts, prompts_of, with_prompts
from common.spec.model import ImageEncoderSpec, TextEncoderSpec

FLAT_IMAGE_VARIANCE = 1e-4
"""Added to an image's variance, so that an image without contrast stays finite."""

EMBEDDING_SCALE = 0.02
"""Standard deviation of a fresh word-piece vector (Devlin et al. 2019, arXiv:1810.04805)."""

NEIGHBOURS = 3
"""Word pieces that the text tower's first convolution sees at a time."""

POOLING_GRID = 4
"""Cells a side of the coarse grid that the ResNet's pooling keeps apart."""


@dataclass(frozen=True)
class Tokens:
    """What an encoder says about a batch."""

    x: Tensor
    """(B, N, D) one vector per patch, region or word piece."""
    mask: Tensor
    """(B, N) True where `x` is real, False where it is padding."""
    pooled: Tensor
    """(B, D) one vector per image or report."""

    def of(self, rows: Tensor) -> "Tokens":
        """The rows `rows`, (n,) numbers in that order or (B,) bool."""
        return Tokens(self.x[rows], self.mask[rows], self.pooled[rows])


class Block(nn.Module):
    """A pre-norm transformer block (Xiong et al. 2020, arXiv:2002.04745) that starts as the identity.

    The two projections back into the stream start at zero (Bachlechner et al. 2021, arXiv:2003.04887): a
    fresh text tower is a bag of words, and reports differ from the first step on. With the usual start, what
    attention adds to every word alike drowns the words themselves.
    """

    def __init__(self, width: int, heads: int, expansion: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp_norm = nn.LayerNorm(width)
        leave = nn.Linear(expansion * width, width)
        self.mlp = nn.Sequential(nn.Linear(width, expansion * width), nn.GELU(), leave)
        for back in (self.out, leave):
            nn.init.zeros_(back.weight)
            nn.init.zeros_(back.bias)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, N, D) -> (B, N, D).

        Args:
            x: (B, N, D).
            mask: (B, N) False where nothing may be attended to, or (B, N, N) what each token may attend to.
        """
        x = x + self._attend(self.attention_norm(x), mask)
        deeper: Tensor = x + self.mlp(self.mlp_norm(x))
        return deeper

    def _attend(self, x: Tensor, mask: Tensor | None) -> Tensor:
        batch, length, width = x.shape
        q, k, v = self.qkv(x).view(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        if mask is not None:
            mask = mask[:, None, None, :] if mask.ndim == 2 else mask[:, None]
        mixed = attention(q, k, v, mask)
        joined: Tensor = self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        return joined


class VisionTransformer(nn.Module):
    """Dosovitskiy et al. 2021, arXiv:2010.11929, with mean pooling and fixed 2-D sine positions."""

    positions: Tensor
    sees_hidden = False
    """Only visible patches give tokens."""

    def __init__(self, spec: ImageEncoderSpec, image_size: int, channels: int) -> None:
        super().__init__()
        self.patch_pixels = spec.patch_pixels
        self.width = spec.width
        self.patch = nn.Linear(channels * spec.patch_pixels**2, spec.width)
        self.register_buffer(
            "positions", sine_positions(image_size // spec.patch_pixels, spec.width), persistent=False
        )
        self.blocks = nn.ModuleList(Block(spec.width, spec.heads) for _ in range(spec.depth))
        self.norm = nn.LayerNorm(spec.width)

    def forward(self, images: Tensor, keep: Tensor | None = None) -> Tokens:
        """Encode (B, C, S, S) grey values in 0..1.

        Args:
            images: (B, C, S, S).
            keep: (B, K) indices of the patches to see; all of them when None.
        """
        cut, positions = patches(normalise(images), self.patch_pixels), self.positions
        if keep is not None:  # before they are embedded: hidden patches cost nothing
            cut = cut.gather(1, keep[..., None].expand(-1, -1, cut.shape[-1]))
            positions = positions[keep]
        x = self.patch(cut) + positions
        seen = x.shape[1]
        x = with_prompts(x, prompts_of(self))
        for block in self.blocks:
            x = block(x)
        x = self.norm(x[:, :seen])
        return Tokens(x, torch.ones(x.shape[:2], dtype=torch.bool, device=x.device), x.mean(dim=1))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with GroupNorm around a shortcut (He et al. 2016, Wu and He 2018).

    A group is one channel (Ulyanov et al. 2016, arXiv:1607.08022): a scanner's contrast cancels, and small
    findings are learned in half the steps that groups of eight need.
    """

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.norm1 = nn.GroupNorm(channels, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm2 = nn.GroupNorm(channels, channels)
        changes = stride != 1 or channels_in != channels
        self.shortcut = nn.Conv2d(channels_in, channels, 1, stride, bias=False) if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H / stride, W / stride)."""
        hidden = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(hidden)) + self.shortcut(x))


STAGE_STRIDES = (1, 2, 2, 1)
RESNET_STRIDE = 8
"""Pixels a side of one cell of the ResNet's last feature map: the stem's 2 times the stages'."""


class ResNet(nn.Module):
    """Four stages of residual blocks, channels growing to the width; a token is 8 x 8 pixels.

    Pooling joins the mean and the maximum over all cells with the means of a coarse grid (He et al. 2014,
    arXiv:1406.4729): a small finding fills few cells, and where it lies says what it is.
    """

    sees_hidden = True
    """Every cell gives a token, painted over or not."""

    def __init__(self, spec: ImageEncoderSpec, image_channels: int) -> None:
        super().__init__()
        self.width = spec.width
        self.patch_pixels = RESNET_STRIDE
        channels = [spec.width // 4, spec.width // 2, spec.width, spec.width]
        self.stem = nn.Conv2d(image_channels, channels[0], 5, 2, 2, bias=False)
        self.pool = nn.Linear((2 + POOLING_GRID**2) * spec.width, spec.width)
        self.stem_norm = nn.GroupNorm(channels[0], channels[0])
        self.stages = nn.Sequential(
            *(
                ResidualBlock(
                    channels[max(stage - (block == 0), 0)],
                    channels[stage],
                    1 if block else STAGE_STRIDES[stage],
                )
                for stage in range(4)
                for block in range(spec.depth)
            )
        )

    def forward(self, images: Tensor, keep: Tensor | None = None) -> Tokens:
        """Encode (B, C, S, S) grey values in 0..1; a token is a cell of the last feature map.

        Args:
            images: (B, C, S, S), S a multiple of RESNET_STRIDE.
            keep: (B, K) indices of the patches to see; the others are painted mean grey (Xie et al. 2022,
                arXiv:2111.09886), and every cell still gives a token. All of them when None.
        """
        x = normalise(images)
        if keep is not None:
            x = paint_over(x, keep, self.patch_pixels)
        x = x.contiguous(memory_format=torch.channels_last)
        features = self.stages(F.relu(self.stem_norm(self.stem(x))))
        x = features.flatten(2).transpose(1, 2)
        coarse = F.adaptive_avg_pool2d(features, POOLING_GRID).flatten(1)
        pooled = self.pool(torch.cat([x.mean(dim=1), x.amax(dim=1), coarse], dim=-1))
        return Tokens(x, torch.ones(x.shape[:2], dtype=torch.bool, device=x.device), pooled)


class TextTransformer(nn.Module):
    """A bidirectional transformer over word pieces, pooled over the real ones.

    A convolution over each piece and its neighbours comes first: "no effusion" and "effusion" differ from the
    first step on, where attention has to learn word order before it can read a negation.
    """

    def __init__(self, spec: TextEncoderSpec, vocabulary_size: int) -> None:
        super().__init__()
        self.width = spec.width
        self.embedding = nn.Embedding(vocabulary_size, spec.width)
        nn.init.normal_(self.embedding.weight, std=EMBEDDING_SCALE)
        self.positions = nn.Parameter(torch.empty(spec.max_tokens, spec.width))
        nn.init.normal_(self.positions, std=EMBEDDING_SCALE)
        self.enter_norm = nn.LayerNorm(spec.width)
        self.neighbours = nn.Conv1d(spec.width, spec.width, NEIGHBOURS, padding=NEIGHBOURS // 2)
        self.blocks = nn.ModuleList(Block(spec.width, spec.heads) for _ in range(spec.depth))
        self.norm = nn.LayerNorm(spec.width)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tokens:
        """Encode (B, T) word-piece ids; `mask` (B, T) is False on padding."""
        real = mask[..., None]
        x = self.enter_norm(self.embedding(tokens) + self.positions[: tokens.shape[1]]) * real
        x = x + F.gelu(self.neighbours(x.transpose(1, 2)).transpose(1, 2)) * real
        prompts = prompts_of(self)
        x, visible = with_prompts(x, prompts), mask_with_prompts(mask, prompts)
        for block in self.blocks:
            x = block(x, visible)
        x = self.norm(x[:, : tokens.shape[1]])
        return Tokens(x, mask, (x * real).sum(dim=1) / real.sum(dim=1).clamp(min=1))


def patch_pixels(spec: ImageEncoderSpec) -> int:
    """Side of the patch of pixels that one image token stands for."""
    return RESNET_STRIDE if spec.encoder == "resnet" else spec.patch_pixels


def attention(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor | None) -> Tensor:
    """Scaled dot-product attention over (B, heads, N, D / heads); `allowed` broadcasts to (B, heads, N, N).

    In bfloat16 on a CPU the plain formula: the backward pass of the fused kernel takes seven times as long
    (59 ms against 8 ms on one core for 64 tokens, 64 x 4 heads). Elsewhere the fused kernel: on a CPU in
    float32 it takes 52 ms where the formula takes 93 (197 tokens, 16 x 6 heads, both passes).
    """
    if q.device.type != "cpu" or q.dtype != torch.bfloat16:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    if allowed is not None:
        scores = scores.masked_fill(~allowed, float("-inf"))
    mixed: Tensor = scores.softmax(dim=-1).to(v.dtype) @ v
    return mixed


def normalise(images: Tensor) -> Tensor:
    """(B, C, S, S) grey values -> zero mean and unit variance image by image: scanners differ in exposure."""
    variance, mean = torch.var_mean(images, dim=(1, 2, 3), correction=0, keepdim=True)
    return (images - mean) * (variance + FLAT_IMAGE_VARIANCE).rsqrt()


def patches(images: Tensor, side: int) -> Tensor:
    """(B, C, S, S) -> (B, (S / side)^2, C side^2), row by row."""
    return F.unfold(images, kernel_size=side, stride=side).transpose(1, 2)


def paint_over(images: Tensor, keep: Tensor, side: int) -> Tensor:
    """Zero all patches of normalised (B, C, S, S) images but those with indices `keep` (B, K)."""
    grid = images.shape[-1] // side
    seen = torch.zeros(len(images), grid * grid, dtype=images.dtype, device=images.device)
    seen = seen.scatter(1, keep, 1.0).view(-1, 1, grid, grid)
    return images * F.interpolate(seen, scale_factor=side, mode="nearest")


def sine_positions(grid: int, width: int) -> Tensor:
    """(grid^2, width) fixed 2-D sine and cosine positions (He et al. 2022, arXiv:2111.06377)."""
    quarter = width // 4
    frequencies = 1 / 10000 ** (torch.arange(quarter, dtype=torch.float64) / quarter)
    angles = torch.arange(grid, dtype=torch.float64)[:, None] * frequencies
    waves = torch.cat([angles.sin(), angles.cos()], dim=1)
    rows = waves[:, None].expand(-1, grid, -1)
    columns = waves[None].expand(grid, -1, -1)
    both = torch.cat([rows, columns], dim=-1).reshape(grid * grid, 4 * quarter)
    return F.pad(both, (0, width - 4 * quarter)).float()
