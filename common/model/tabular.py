"""The metadata tower: coded columns of a study, such as modality and view, as one vector.

Shapes: B rows, M columns, D width.
"""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from common.model.encoders import Tokens
from common.spec.model import MetadataSpec

UNKNOWN = 0
"""Code of a value that is not known."""


class TabularEncoder(nn.Module):
    """A learned vector per column and code, and a small MLP (Gorishniy et al. 2021, arXiv:2106.11959)."""

    def __init__(self, spec: MetadataSpec) -> None:
        super().__init__()
        self.width = spec.width
        self.codes = spec.buckets + 1
        self.vectors = nn.Embedding(len(spec.fields) * self.codes, spec.width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(spec.width),
            nn.Linear(spec.width, 2 * spec.width),
            nn.GELU(),
            nn.Linear(2 * spec.width, spec.width),
        )

    def forward(self, metadata: Tensor) -> Tokens:
        """Encode (B, M) codes; a token is a column, masked where its value is unknown."""
        columns = torch.arange(metadata.shape[1], device=metadata.device) * self.codes
        known = metadata != UNKNOWN
        x = self.vectors(metadata + columns)
        mean = (x * known[..., None]).sum(dim=1) / known.sum(dim=1, keepdim=True).clamp(min=1)
        return Tokens(x, known, mean + self.mlp(mean))


def code_of(value: str, buckets: int) -> int:
    """The code of one value: `UNKNOWN` for "", else 1 to `buckets` by its hash, alike at every hospital."""
    plain = value.strip().casefold()
    if not plain:
        return UNKNOWN
    return 1 + int.from_bytes(hashlib.sha256(plain.encode()).digest()[:8], "big") % buckets


def sentence_of(fields: Sequence[str], values: Sequence[str]) -> str:
    """Metadata told as a sentence: "Modality CR, view PA."; "" when nothing is known."""
    known = [f"{field} {value.strip()}" for field, value in zip(fields, values, strict=True) if value.strip()]
    told = ", ".join(known)
    return told[:1].upper() + told[1:] + "." if told else ""
