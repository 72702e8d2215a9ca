"""Where the tokens of image and report meet: in one stream, or in two that attend to each other.

A missing image or report is replaced by learned pseudo tokens, chosen by what is there.
Shapes: B rows, N patches, T word pieces, J pseudo tokens, W fusion width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from common.model.encoders import Block, Tokens, attention
from common.spec.model import FusionSpec


@dataclass(frozen=True)
class Fused:
    """Image and report after they met."""

    image: Tokens
    """(B, N, W)."""
    text: Tokens
    """(B, T, W)."""
    pooled: Tensor
    """(B, 2 W) what the pair says together."""


class Fusion(nn.Module):
    """Enters both towers' tokens into one width, fills in what is missing, and fuses."""

    def __init__(self, spec: FusionSpec, image_width: int, text_width: int) -> None:
        super().__init__()
        self.enter_image = nn.Linear(image_width, spec.width)
        self.enter_text = nn.Linear(text_width, spec.width)
        self.kinds = nn.Parameter(torch.zeros(2, spec.width))
        self.pseudo_image = PseudoTokens(spec)
        self.pseudo_text = PseudoTokens(spec)
        self.stream: OneStream | TwoStreams = OneStream(spec) if spec.kind == "early" else TwoStreams(spec)
        self.image_norm, self.text_norm = nn.LayerNorm(spec.width), nn.LayerNorm(spec.width)

    def forward(self, image: Tokens, text: Tokens, has_image: Tensor, has_text: Tensor) -> Fused:
        """Fuse row i of `image` with row i of `text`; a row without one of them reads pseudo tokens instead.

        Args:
            image: (B, N, D) tokens.
            text: (B, T, D') tokens.
            has_image: (B,) bool.
            has_text: (B,) bool.
        """
        seen, read = self.enter_image(image.x), self.enter_text(text.x)
        said = (read * text.mask[..., None]).sum(dim=1) / text.mask.sum(dim=1, keepdim=True).clamp(min=1)
        seen, seen_mask = self.pseudo_image.fill(seen, image.mask, has_image, hint=said)
        shown = (seen * seen_mask[..., None]).sum(dim=1) / seen_mask.sum(dim=1, keepdim=True).clamp(min=1)
        read, read_mask = self.pseudo_text.fill(read, text.mask, has_text, hint=shown)
        seen, read = self.stream(seen + self.kinds[0], seen_mask, read + self.kinds[1], read_mask)
        length, words = image.x.shape[1], text.x.shape[1]
        seen, read = self.image_norm(seen), self.text_norm(read)
        pooled = torch.cat([_mean(seen, seen_mask), _mean(read, read_mask)], dim=-1)
        return Fused(
            Tokens(seen[:, :length], image.mask, pooled), Tokens(read[:, :words], text.mask, pooled), pooled
        )


class PseudoTokens(nn.Module):
    """A pool of learned tokens (Chen et al. 2023, PTUnifier, arXiv:2302.08958)."""

    def __init__(self, spec: FusionSpec) -> None:
        super().__init__()
        self.count = spec.pseudo_tokens
        self.pool = nn.Parameter(torch.randn(spec.pseudo_pool, spec.width) * spec.width**-0.5)

    def fill(self, x: Tensor, mask: Tensor, present: Tensor, *, hint: Tensor) -> tuple[Tensor, Tensor]:
        """Append the `count` tokens of the pool nearest to `hint` (B, W), seen only where `present` is False.

        Returns:
            (B, N + J, W) tokens, and their mask: real ones where the row has them, else the pseudo tokens.
        """
        nearest = (hint @ self.pool.T).topk(self.count, dim=-1).indices
        chosen = self.pool[nearest].to(x.dtype)
        missing = ~present[:, None].expand(-1, self.count)
        return torch.cat([x, chosen], dim=1), torch.cat([mask & present[:, None], missing], dim=1)


class OneStream(nn.Module):
    """Early fusion: all tokens in one transformer (Chen et al. 2020, UNITER, arXiv:1909.11740)."""

    def __init__(self, spec: FusionSpec) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(spec.width, spec.heads) for _ in range(spec.depth))

    def forward(
        self, image: Tensor, image_mask: Tensor, text: Tensor, text_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(B, N, W) and (B, T, W) -> the same, each having attended to both."""
        x, mask = torch.cat([image, text], dim=1), torch.cat([image_mask, text_mask], dim=1)
        for block in self.blocks:
            x = block(x, mask)
        return x[:, : image.shape[1]], x[:, image.shape[1] :]


class TwoStreams(nn.Module):
    """Late fusion by co-attention (Chen et al. 2022, M3AE, arXiv:2209.07098)."""

    def __init__(self, spec: FusionSpec) -> None:
        super().__init__()
        self.image = nn.ModuleList(CrossBlock(spec.width, spec.heads) for _ in range(spec.depth))
        self.text = nn.ModuleList(CrossBlock(spec.width, spec.heads) for _ in range(spec.depth))

    def forward(
        self, image: Tensor, image_mask: Tensor, text: Tensor, text_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(B, N, W) and (B, T, W) -> the same, each having attended to itself and to the other."""
        for look, read in zip(self.image, self.text, strict=True):
            image, text = (
                look(image, image_mask, text, text_mask),
                read(text, text_mask, image, image_mask),
            )
        return image, text


class CrossBlock(nn.Module):
    """A pre-norm block of self-attention, attention to another stream, and an MLP."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.inner = Block(width, heads)
        self.query_norm, self.other_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.keys_values = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor, other: Tensor, other_mask: Tensor) -> Tensor:
        """(B, N, W) -> (B, N, W).

        Args:
            x: (B, N, W).
            mask: (B, N) what of `x` is real, or (B, N, N) what each of its tokens may attend to.
            other: (B, T, W).
            other_mask: (B, T) what of `other` is real.
        """
        batch, length, width = x.shape
        q = self.query(self.query_norm(x)).view(batch, length, self.heads, -1).transpose(1, 2)
        kv = self.keys_values(self.other_norm(other)).view(batch, other.shape[1], 2, self.heads, -1)
        k, v = kv.permute(2, 0, 3, 1, 4)
        mixed = attention(q, k, v, other_mask[:, None, None, :])
        crossed = x + self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        deeper: Tensor = self.inner(crossed, mask)
        return deeper


def _mean(x: Tensor, mask: Tensor) -> Tensor:
    """(B, N, W) -> (B, W) over what is real."""
    return (x * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1)
