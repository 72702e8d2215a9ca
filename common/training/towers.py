"""What the engine knows about a tower, and the faster ways of running one that leave its sums as they are."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from common.errors import ConfigurationError
from common.model.encoders import Tokens
from common.model.vlp import VLPModel
from common.spec.train import TrainSpec

AFTER_THE_LAYERS = frozenset({"norm", "pool", "pooler", "layernorm", "final_norm"})
"""Parts of a tower that work on its last layer's output; what else is outside the layers feeds the first."""

TOWERS = ("image", "text")
"""Names of the model's towers."""

COMPILERS = ("g++", "clang++", "c++")

Forward = Callable[..., object]


def layers_of(tower: nn.Module) -> tuple[str, list[nn.Module]]:
    """Name and members of the longest list of like modules in `tower`: its layers; empty if it has none."""
    found: tuple[str, list[nn.Module]] = "", []
    for name, module in tower.named_modules():
        if isinstance(module, nn.ModuleList | nn.Sequential):
            layers = list(module)
            if len({type(layer) for layer in layers}) == 1 and len(layers) > len(found[1]):
                found = name, layers
    return found


def depth_of(model: nn.Module, parameter: str) -> tuple[int, int]:
    """How many layers stand above `parameter` in its tower, and how many its tower has.

    What feeds the first of L layers has L above it; the last layer, what follows it, and all that is in no
    tower (projections, objectives) have 0 above.
    """
    name, _, inside = parameter.partition(".")
    if name not in TOWERS:
        return 0, 0
    where, layers = layers_of(model.get_submodule(name))
    if where and inside.startswith(f"{where}."):
        return len(layers) - 1 - int(inside[len(where) + 1 :].split(".")[0]), len(layers)
    after = not AFTER_THE_LAYERS.isdisjoint(inside.split("."))
    return (0 if after else len(layers)), len(layers)


@contextmanager
def hastened(model: VLPModel, spec: TrainSpec) -> Iterator[None]:
    """Run the towers of `model` as `spec` says until the block ends; see `hasten`."""
    wrapped = hasten(model, spec)
    try:
        yield
    finally:
        for module in wrapped:
            module.__dict__.pop("forward", None)


def hasten(model: VLPModel, spec: TrainSpec) -> list[nn.Module]:
    """Run the towers of `model` as `spec` says: compiled, recomputed, in buckets. Returns what was changed.

    Raises:
        ConfigurationError: the towers are to be compiled and this machine has no C++ compiler.
    """
    if spec.compile:
        require_compiler()
    wrapped: list[nn.Module] = []

    def wrap(module: nn.Module, faster: Callable[[Forward], Forward]) -> None:
        wrapped.append(module)
        module.__dict__["forward"] = faster(module.forward)

    for name in TOWERS:
        tower = model.get_submodule(name)
        if spec.gradient_checkpointing:
            for layer in layers_of(tower)[1]:
                wrap(layer, lambda forward: partial(checkpoint, forward, use_reentrant=False))
        if spec.compile:
            wrap(tower, torch.compile)
    if spec.text_buckets > 1:
        wrap(model.text, lambda forward: partial(in_buckets, forward, spec.text_buckets))
    return wrapped


def in_buckets(encode: Forward, buckets: int, tokens: Tensor, mask: Tensor) -> Tokens:
    """Encode reports in groups of like length, each padded to its own longest; in the order given.

    Args:
        encode: a text tower, (B, T) word pieces and mask -> `Tokens`.
        buckets: groups, as even in size as can be.
        tokens: (B, T).
        mask: (B, T) False on padding, which is at the end.

    Returns:
        What `encode` says about the whole, to the last bit or so, but for zeros where padding is.
    """
    lengths = mask.sum(dim=1)
    order = lengths.argsort(stable=True)
    parts: list[Tokens] = []
    for rows in order.chunk(buckets):
        longest = max(1, int(lengths[rows].max()))
        part = encode(tokens[rows, :longest], mask[rows, :longest])
        assert isinstance(part, Tokens)
        parts.append(part)
    back = order.argsort()
    width = tokens.shape[1]
    x = torch.cat([F.pad(part.x, (0, 0, 0, width - part.x.shape[1])) for part in parts])[back]
    return Tokens(x, mask, torch.cat([part.pooled for part in parts])[back])


def require_compiler() -> None:
    """Refuse to compile where nothing can.

    Raises:
        ConfigurationError: no C++ compiler is found.
    """
    if not any(shutil.which(name) for name in COMPILERS):
        raise ConfigurationError(
            f"train.compile = true needs a C++ compiler ({', '.join(COMPILERS)}), and none is on PATH; "
            "install one or set train.compile = false",
            outward="no C++ compiler for train.compile",
        )
