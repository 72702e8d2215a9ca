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


def seed_chance(seed: int) -> None:
    """Seed what draws without a generator of its own, dropout above all, on every device in use.

    The draws are those after `torch.manual_seed`, which also notes down a stack trace at each call for every
    kind of GPU that is not in use yet: milliseconds, and memory that is never given back.
    """
    import torch

    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed_all(seed)
    if torch.backends.mps.is_available():
        torch.mps.manual_seed(seed)
