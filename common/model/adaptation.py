"""The towers stay as they are, and only small additions to them are trained and exchanged.

Low-rank adapters (Hu et al. 2022, arXiv:2106.09685) by way of `peft`, or the prompts of
`common.model.prompts`.
"""

from typing import Any

import torch
from torch import Tensor, nn

from common.model.prompts import PROMPTS
from common.model.vlp import VLPModel
from common.seeds import derive_seed, seed_chance
from common.spec.run import Spec

BASE, ADAPTER = ".base_layer.", ".lora_"
"""How `peft` names the weights of a layer that it wraps, and of what it adds."""


def adapt(model: VLPModel, spec: Spec) -> None:
    """Freeze the towers that `spec` adapts, if any, all but their prompts or the adapters put into them.

    Adapters do not change what the model says, for they start as zero. Their weights are a function of
    `spec.seed`.
    """
    adaptation = spec.model.adaptation
    if adaptation is None:
        return
    if adaptation.kind == "prompt":
        for name in adaptation.towers:
            for path, weight in model.get_submodule(name).named_parameters():
                weight.requires_grad_(path == PROMPTS)
        return
    from peft import LoraConfig, inject_adapter_in_model  # seconds to import, and few runs need it

    with torch.random.fork_rng(devices=[]):
        seed_chance(derive_seed(spec.seed, "adaptation"))
        for name in adaptation.towers:
            tower = model.get_submodule(name)
            layers = [path for path, module in tower.named_modules() if _takes_adapter(module)]
            config = LoraConfig(
                r=adaptation.rank, lora_alpha=adaptation.alpha, lora_dropout=0.0, target_modules=layers
            )
            inject_adapter_in_model(config, tower)


def _takes_adapter(module: nn.Module) -> bool:
    """Linear layers and convolutions over all channels; one over single channels has no rank to cut."""
    return isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1)


def merged_state(model: VLPModel) -> dict[str, Tensor]:
    """Weights of the same model without adapters that says the same; `model` has its adapters merged."""
    for module in model.modules():
        layer: Any = module  # one of peft's, which is not imported for this
        if hasattr(layer, "lora_A"):
            layer.merge()
    return {
        name.replace(BASE, "."): weight for name, weight in model.state_dict().items() if ADAPTER not in name
    }
