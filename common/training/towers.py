"""What the engine knows about a tower, and the faster ways of running one that leave its sums as they are."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np
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


class Heights:
    """How many layers of its tower stand above each parameter of `model`.

    What feeds the first of L layers has L above it; the last layer, what follows it, and all that is in no
    tower (projections, objectives) have 0.
    """

    def __init__(self, model: nn.Module) -> None:
        self._layers = {tower: layers_of(model.get_submodule(tower)) for tower in TOWERS}

    def above(self, parameter: str) -> int:
        """For the parameter of this name."""
        tower, _, inside = parameter.partition(".")
        if tower not in self._layers:
            return 0
        where, layers = self._layers[tower]
        if where and inside.startswith(f"{where}."):
            return len(layers) - 1 - int(inside[len(where) + 1 :].split(".")[0])
        return 0 if not AFTER_THE_LAYERS.isdisjoint(inside.split(".")) else len(layers)


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
        buckets: groups at most, made so that least is padded.
        tokens: (B, T).
        mask: (B, T) False on padding, which is at the end.

    Returns:
        What `encode` says about the whole, to the last bit or so, but for zeros where padding is.
    """
    lengths = mask.sum(dim=1)
    order = lengths.argsort(stable=True)
    parts: list[Tokens] = []
    for rows in torch.split(order, least_padding(lengths.tolist(), buckets)):
        longest = max(1, int(lengths[rows].max()))
        part = encode(tokens[rows, :longest], mask[rows, :longest])
        assert isinstance(part, Tokens)
        parts.append(part)
    back = order.argsort()
    width = tokens.shape[1]
    x = torch.cat([F.pad(part.x, (0, 0, 0, width - part.x.shape[1])) for part in parts])[back]
    return Tokens(x, mask, torch.cat([part.pooled for part in parts])[back])


def least_padding(lengths: Sequence[int], buckets: int) -> list[int]:
    """How many of the shortest texts make the first group, and so on, so that padding is least.

    Exact, by dynamic programming over the distinct lengths.

    Args:
        lengths: of the texts, in any order.
        buckets: groups at most.

    Returns:
        Sizes of the groups, shortest texts first; their sum is that of the texts.
    """
    distinct, counts = np.unique(np.asarray(lengths, dtype=np.int64), return_counts=True)
    below = np.concatenate([[0], counts.cumsum()])
    # cost[i, j]: places that the texts of the distinct lengths i to j - 1 take together.
    cost = (below[None, 1:] - below[:-1, None]) * distinct[None, :].astype(np.float64)
    cost[np.tril_indices(len(distinct), -1)] = np.inf
    least, starts = cost[0], [np.zeros(len(distinct), dtype=np.int64)]
    for _ in range(min(buckets, len(distinct)) - 1):
        with_one_more = np.concatenate([[0.0], least[:-1]])[:, None] + cost
        starts.append(with_one_more.argmin(axis=0))
        least = with_one_more.min(axis=0)
    sizes: list[int] = []
    end = len(distinct)
    for start in reversed(starts):
        if end:
            sizes.append(int(below[end] - below[start[end - 1]]))
            end = int(start[end - 1])
    return sizes[::-1]


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
