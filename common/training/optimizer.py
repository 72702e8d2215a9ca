"""AdamW with a rate per layer, its schedule, and the mean of the weights on the way."""

import math
from collections.abc import Iterable
from inspect import unwrap

import torch
from torch import Tensor, nn

from common.spec.train import TrainSpec
from common.training.towers import Heights

BETAS = (0.9, 0.98)
"""AdamW's, as in Radford et al. 2021, arXiv:2103.00020, table 19 (ViT)."""


class AdamW(torch.optim.AdamW):
    """torch's AdamW without torch's compiler.

    When one of these methods is first called, torch imports its compiler, only to tell it to leave the method
    alone. That takes as long as importing torch itself; the spec says what is compiled, and this never is.
    """

    add_param_group = unwrap(torch.optim.Optimizer.add_param_group)
    zero_grad = unwrap(torch.optim.Optimizer.zero_grad)
    state_dict = unwrap(torch.optim.Optimizer.state_dict)
    load_state_dict = unwrap(torch.optim.Optimizer.load_state_dict)
    step = torch.no_grad()(unwrap(torch.optim.Adam.step))


def build_optimizer(model: nn.Module, spec: TrainSpec) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101); vectors, norms and scales are not decayed.

    With `layer_decay` below 1, a layer's rate falls with its distance from the output (Bao et al. 2022,
    arXiv:2106.08254, appendix H).
    """
    named = dict(model.named_parameters())
    shares = rate_shares(model, named, spec)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for decay, wanted in ((spec.weight_decay, True), (0.0, False)):
        for name, weight in named.items():
            if (weight.ndim >= 2) is wanted:
                groups.setdefault((decay, shares[name]), []).append(weight)
    return AdamW(
        [
            {"params": weights, "weight_decay": decay, "rate_share": share}
            for (decay, share), weights in groups.items()
        ],
        lr=spec.learning_rate,
        betas=BETAS,
        fused=True,
    )


def rate_shares(model: nn.Module, names: Iterable[str], spec: TrainSpec) -> dict[str, float]:
    """Parameter of these `names` -> its share of the learning rate, above 0 to 1."""
    if spec.layer_decay == 1:
        return dict.fromkeys(names, 1.0)
    heights = Heights(model)
    return {name: float(spec.layer_decay ** heights.above(name)) for name in names}


def learning_rate_at(step: int, total_steps: int, spec: TrainSpec) -> float:
    """Linear warm-up, then a cosine from `learning_rate` to its final share at the last step."""
    warmup = max(1, round(spec.warmup_share * total_steps))
    if step < warmup:
        return spec.learning_rate * (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, total_steps - 1 - warmup))
    low = spec.learning_rate * spec.final_learning_rate_share
    return low + (spec.learning_rate - low) * (1 + math.cos(math.pi * progress)) / 2


def ramp_at(steps_taken: int, spec: TrainSpec) -> float:
    """Share of the learning rate after so many steps of a fresh optimiser, above 0 to 1."""
    return min(1.0, (steps_taken + 1) / (spec.round_warmup_steps + 1))


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Use `rate`, times the layer's share, for all parameters from the next step on."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["rate_share"]


class MeanWeights:
    """An exponential mean of the weights over the steps of one round, beginning with those it starts from.

    Source: Polyak and Juditsky 1992, doi:10.1137/0330046, with the exponential weights of Tarvainen and
    Valpola 2017, arXiv:1703.01780. After T steps: d^T w_0 + (1 - d) (d^(T-1) w_1 + ... + w_T).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.means: dict[str, Tensor] = {
            name: weight.detach().clone() for name, weight in model.named_parameters()
        }

    def add(self, model: nn.Module) -> None:
        """Count the weights of `model` after one more step."""
        for name, weight in model.named_parameters():
            self.means[name].lerp_(weight.detach(), 1 - self.decay)

    @torch.no_grad()
    def put_into(self, model: nn.Module) -> None:
        """Give `model` the mean weights."""
        for name, weight in model.named_parameters():
            weight.copy_(self.means[name])
