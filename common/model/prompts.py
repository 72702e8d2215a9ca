"""Learned prompts: tokens that stand behind a tower's own, and all that is trained of it.

Of the input layer, as the shallow prompts of Jia et al. 2022, arXiv:2203.12119, and Lester et al. 2021,
arXiv:2104.08691. Shapes: B rows, N tokens, P prompts, D width.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.errors import ConfigurationError

PROMPTS = "prompts"
"""Name of the parameter in a tower."""

SCALE = 0.02
"""Standard deviation of a fresh prompt, that of a fresh word-piece vector."""


def give_prompts(tower: nn.Module, count: int, width: int) -> None:
    """Put `count` fresh prompts into `tower`; it reads them in `with_prompts` or `prompted`."""
    tower.register_parameter(PROMPTS, nn.Parameter(torch.randn(count, width) * SCALE))


def prompts_of(tower: nn.Module) -> Tensor | None:
    """(P, D), or None where a tower has none."""
    found = dict(tower.named_parameters(recurse=False)).get(PROMPTS)
    return found if isinstance(found, Tensor) else None


def with_prompts(x: Tensor, prompts: Tensor | None) -> Tensor:
    """(B, N, D) -> (B, N + P, D)."""
    if prompts is None:
        return x
    return torch.cat([x, prompts.to(x.dtype).expand(len(x), -1, -1)], dim=1)


def mask_with_prompts(mask: Tensor, prompts: Tensor | None) -> Tensor:
    """(B, N) -> (B, N + P): prompts are always seen."""
    return mask if prompts is None else F.pad(mask, (0, len(prompts)), value=True)


@contextmanager
def prompted(model: nn.Module, prompts: Tensor | None) -> Iterator[None]:
    """Let the first embeddings of a model of `transformers` be followed by prompts, until the block ends."""
    if prompts is None:
        yield
        return

    def follow(module: nn.Module, given: tuple[Any, ...], x: Tensor) -> Tensor:
        del module, given
        return with_prompts(x, prompts)

    hook = embeddings_of(model).register_forward_hook(follow)
    try:
        yield
    finally:
        hook.remove()


def embeddings_of(model: nn.Module) -> nn.Module:
    """Where a model of `transformers` makes tokens of what it is given.

    Raises:
        ConfigurationError: it has no tokens.
    """
    parts: dict[str, nn.Module] = dict(model.named_modules())
    found = next((part for name, part in parts.items() if name.endswith("embeddings")), None)
    if found is None or type(model).__name__.startswith(("ResNet", "ConvNext")):
        raise ConfigurationError(
            f"model.adaptation.kind = 'prompt' needs towers of tokens, and {type(model).__name__} is none"
        )
    return found
