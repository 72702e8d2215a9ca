"""The measured process of the privacy benchmark: one way to train, its seconds of work and its peak memory.

Two models: the shipped one, and a stack of linear layers that Opacus' hooks and ghost clipping can handle.
Shapes: B pairs in a step.
"""

import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.data.batches import Batches
from common.data.corpus import read_corpus
from common.imaging.preparation import Preparation
from common.privacy.entropy import Entropy
from common.privacy.mechanism import MechanismName, Terms
from common.privacy.step import Covered, private_gradient
from common.privacy.training import take_private_step
from common.privacy.units import population_of
from common.project import create_project
from common.spec.run import Spec, parse_spec
from common.store import Row, Store, write_store
from common.training.optimizer import build_optimizer
from common.training.trainer import train
from simulations.benchmarks.fresh import peak_bytes

PAIRS, GROUP, SIZE = 64, 8, 64
"""Patients in every step (all of them: sampling costs nothing), in a group, pixels a side."""
WORDS = ("the", "lungs", "are", "clear", "heart", "enlarged", "effusion", "left", "right", "no", "opacity")
STACK_WIDTH, STACK_DEPTH, STACK_PATCH = 192, 6, 8
NOISE = 1.0

Step = Callable[[], object]


def main() -> None:
    """`argv`: WAY STEPS RESULT; writes seconds of one step and bytes above the start to RESULT."""
    way, steps, result = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    torch.set_num_threads(1)
    torch.manual_seed(0)
    step = WAYS[way](result.parent / way)
    base = peak_bytes()
    step()
    started = time.process_time()
    for _ in range(steps):
        step()
    seconds = (time.process_time() - started) / steps
    result.write_text(json.dumps({"seconds": seconds, "bytes": peak_bytes(), "base": base}))


def benchmark_spec(mechanism: str) -> Spec:
    """The shipped model with two objectives; R compares a patient with as many public pairs as the others'
    batch has rows."""
    contrastive = "bank_contrastive" if mechanism == "R" else "global_contrastive"
    return parse_spec(
        {
            "name": "privacy-benchmark",
            "model": {
                "image_size": SIZE,
                "embedding_width": 128,
                "image": {"encoder": "vit", "width": 192, "depth": 6, "heads": 6, "patch_pixels": 8},
                "text": {"width": 192, "depth": 4, "heads": 6, "max_tokens": 48, "vocabulary_size": 4096},
            },
            "objectives": {contrastive: {}, "masked_language": {}},
            "data": {
                "batch_size": PAIRS,
                "anchor_pairs": 0,
                "public_negatives": PAIRS if mechanism == "R" else 0,
                "images": {"burned_in": "keep"},
            },
            "train": {"local_steps": 1, "precision": "fp32", "threads": 1},
            "federation": {"rounds": 1, "min_sites": 1},
            "privacy": {"mode": "none"},
            "secure_aggregation": {"mode": "off"},
        },
        where="privacy benchmark",
    )


def _shipped(folder: Path, spec: Spec) -> tuple[Store, Batches, nn.Module]:
    chance = np.random.default_rng(0)
    rows = [
        Row(
            f"i{number}",
            f"s{number}",
            f"p{number}",
            chance.integers(0, 255, (1, SIZE, SIZE)).astype(np.uint8),
            "CR",
            "PA",
            "train",
            {"findings": " ".join(chance.choice(WORDS, 40)) + "."},
        )
        for number in range(PAIRS)
    ]
    preparation = Preparation(image_size=SIZE, burned_in="keep")
    write_store(folder / "store", name="bench", preparation=preparation, rows=rows)
    store = Store(folder / "store")
    project = create_project(folder / "project", spec, sites=["bench"], bank=store)
    corpus = read_corpus(store, None, project.tokenizer, preparation=preparation, reading=project.reading)
    return store, Batches(spec, project.tokenizer, corpus, corpus, "bench"), project.fresh_model()


def _plain(folder: Path) -> Step:
    spec = benchmark_spec("none")
    _, batches, model = _shipped(folder, spec)
    return lambda: train(model, batches, spec, first_step=0, steps=1, total_steps=1)  # type: ignore[arg-type]


def _private(mechanism: MechanismName) -> Callable[[Path], Step]:
    def ready(folder: Path) -> Step:
        spec = benchmark_spec(mechanism)
        store, batches, model = _shipped(folder, spec)
        groups = PAIRS // GROUP
        terms = Terms(mechanism, 2**32, NOISE, groups, groups, 1, 1)
        population, covered = population_of(store, batches), Covered(model)
        optimizer = build_optimizer(model, spec.train)
        return lambda: take_private_step(
            model,  # type: ignore[arg-type]
            covered,
            optimizer,
            population,
            terms,
            spec.train,
            Entropy(),
        )

    return ready


class Stack(nn.Module):
    """Residual layers on patches: nothing that hooks do not know."""

    def __init__(self) -> None:
        super().__init__()
        width, wide = STACK_WIDTH, 4 * STACK_WIDTH
        self.enter = nn.Linear(STACK_PATCH**2, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, wide), nn.GELU(), nn.Linear(wide, width))
            for _ in range(STACK_DEPTH)
        )
        self.leave = nn.Linear(width, 64)

    def forward(self, patches: Tensor) -> Tensor:
        """(B, N, P) -> (B, 64)."""
        x = self.enter(patches)
        for block in self.blocks:
            x = x + block(x)
        out: Tensor = self.leave(x.mean(dim=1))
        return out


def _data() -> tuple[Tensor, Tensor]:
    return torch.randn(PAIRS, (SIZE // STACK_PATCH) ** 2, STACK_PATCH**2), torch.randint(64, (PAIRS,))


def _stack_plain(_: Path) -> Step:
    model, (patches, public) = Stack(), _data()
    optimizer = torch.optim.AdamW(model.parameters())

    def step() -> None:
        optimizer.zero_grad()
        torch.autograd.backward(F.cross_entropy(model(patches), public))
        optimizer.step()

    return step


def _stack_ours(_: Path) -> Step:
    model, (patches, public) = Stack(), _data()
    covered, optimizer = Covered(model), torch.optim.AdamW(model.parameters())
    terms = Terms("R", 2**32, NOISE, 1, PAIRS, 1, 1)
    losses = [
        lambda row=row: F.cross_entropy(model(patches[row : row + 1]), public[row : row + 1])
        for row in range(PAIRS)
    ]

    def step() -> None:
        gradients = private_gradient(covered.parameters, losses, terms, Entropy())
        for weight, gradient in zip(covered.parameters, gradients, strict=True):
            weight.grad = gradient
        optimizer.step()

    return step


def _stack_hooks(_: Path) -> Step:
    from opacus.grad_sample import GradSampleModule

    warnings.simplefilter("ignore")
    model, (patches, public) = GradSampleModule(Stack()), _data()
    weights = list(model.parameters())
    optimizer = torch.optim.AdamW(weights)

    def step() -> None:
        torch.autograd.backward(F.cross_entropy(model(patches), public, reduction="sum"))
        each = [weight.grad_sample.flatten(1) for weight in weights]
        length = torch.stack([part.norm(dim=1) for part in each]).norm(dim=0)
        factor = 1 / (length + 0.01)
        for weight, part in zip(weights, each, strict=True):
            summed = (factor @ part).view_as(weight)
            weight.grad = (summed + NOISE * torch.randn_like(summed)) / PAIRS
            weight.grad_sample = None
        optimizer.step()
        optimizer.zero_grad()

    return step


def _stack_ghost(_: Path) -> Step:
    from opacus.grad_sample.grad_sample_module_fast_gradient_clipping import (
        GradSampleModuleFastGradientClipping,
    )

    warnings.simplefilter("ignore")
    patches, public = _data()
    model = GradSampleModuleFastGradientClipping(Stack(), max_grad_norm=1.0, use_ghost_clipping=True)
    weights = list(model.parameters())
    optimizer = torch.optim.AdamW(weights)

    def step() -> None:
        losses = F.cross_entropy(model(patches), public, reduction="none")
        torch.autograd.backward(losses.sum(), retain_graph=True)
        factor = model.get_clipping_coef()
        optimizer.zero_grad()
        model.disable_hooks()
        torch.autograd.backward((factor * losses).sum())
        model.enable_hooks()
        for weight in weights:
            weight.grad = (weight.grad + NOISE * torch.randn_like(weight)) / PAIRS
        optimizer.step()
        optimizer.zero_grad()

    return step


WAYS: dict[str, Callable[[Path], Step]] = {
    "not private": _plain,
    "G, groups of 8": _private("G"),
    "R, patient by patient": _private("R"),
    "stack, not private": _stack_plain,
    "stack, R": _stack_ours,
    "stack, Opacus hooks": _stack_hooks,
    "stack, Opacus ghost": _stack_ghost,
}
