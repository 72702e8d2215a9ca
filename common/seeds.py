"""One run seed, and from it an independent seed for every use that is named."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a hospital's commands and the workers of ingest need seeds, and not torch's 200 MiB
    import torch


def derive_seed(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for `purpose`, e.g. ("rows", site, epoch); other purposes give unrelated seeds."""
    return int.from_bytes(derive_key(seed, *purpose)[:8], "big") >> 1


def derive_key(seed: int, *purpose: str | int) -> bytes:
    """32 bytes for `purpose`, for a keystream that everyone with the seed can repeat."""
    return hashlib.sha256("/".join(str(part) for part in (seed, *purpose)).encode()).digest()


def generator(seed: int, *purpose: str | int) -> torch.Generator:
    """A CPU generator seeded by `derive_seed`."""
    import torch

    return torch.Generator().manual_seed(derive_seed(seed, *purpose))
