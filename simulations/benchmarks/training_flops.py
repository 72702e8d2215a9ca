"""How much of a GPU's arithmetic our training step uses: its multiplications in closed form over its seconds.

Shapes: B pairs, C channels, P pixels a side of a patch, N tokens, W width of a tower, E embedding width.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch

from common.errors import ConfigurationError
from common.model.encoders import NEIGHBOURS
from simulations.benchmarks.training_ours import our_party
from simulations.benchmarks.training_party import LEARNING_RATE, Setting, Shape, made_up_pairs

PEAK = {
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
}
"""Multiplications and additions in bfloat16 a second without sparsity, by what a GPU's name holds, the longer
names first; from the makers' data sheets."""

BACKWARD = 2
"""A product is differentiated by two more: to its input and to its weights."""

VIT_B_BERT_BASE = Shape(
    image_size=224,
    patch_pixels=16,
    image_width=768,
    image_depth=12,
    text_width=768,
    text_depth=12,
    max_tokens=77,
    vocabulary=30522,
    embedding=512,
    batch_size=256,
)
"""ViT-B/16 and a text tower as large as BERT-base."""


@dataclass(frozen=True)
class Utilisation:
    """What a step takes of the device."""

    device: str
    pairs_per_second: float
    flops_per_pair: float
    """Of forward and backward pass; recomputation does not count."""
    peak_flops: float
    share: float
    """Model FLOPs utilisation (Chowdhery et al. 2022, arXiv:2204.02311, appendix B)."""

    def to_json(self) -> dict[str, object]:
        """As `--json` prints it."""
        return {"benchmark": "mfu", **asdict(self)}


def forward_flops(shape: Shape, channels: int = 1) -> int:
    """Multiplications and additions of B pairs through both towers, projections and the loss.

    Whole images and reports that fill T. Norms, activations and softmax are left out, as is the custom.
    """
    patches = (shape.image_size // shape.patch_pixels) ** 2
    embedded = 2 * patches * channels * shape.patch_pixels**2 * shape.image_width
    neighbours = 2 * shape.max_tokens * NEIGHBOURS * shape.text_width**2
    projections = 2 * (shape.image_width + shape.text_width) * shape.embedding
    towers = tower_flops(patches, shape.image_width, shape.image_depth) + tower_flops(
        shape.max_tokens, shape.text_width, shape.text_depth
    )
    logits = 2 * shape.batch_size * shape.embedding
    return shape.batch_size * (embedded + neighbours + projections + towers + logits)


def tower_flops(tokens: int, width: int, depth: int) -> int:
    """Of a transformer's blocks on one row: four projections and an MLP of four widths, and attention."""
    dense = 2 * tokens * (4 * width**2 + 2 * 4 * width**2)
    attention = 2 * 2 * tokens**2 * width
    return depth * (dense + attention)


def peak_of(name: str) -> float:
    """The peak of the GPU called `name`.

    Raises:
        ConfigurationError: it is not known.
    """
    found = next((peak for part, peak in PEAK.items() if part in name), None)
    if found is None:
        raise ConfigurationError(f"the peak of {name} is not known; give it with --peak-tflops")
    return found


def measure_utilisation(
    shape: Shape = VIT_B_BERT_BASE,
    *,
    device: torch.device,
    peak_flops: float,
    compiled: bool = False,
    steps: int = 20,
    warm_up: int = 5,
) -> Utilisation:
    """Time our whole step, optimiser included, on whole images and full reports, in bfloat16 where there is.

    Algorithms need not repeat to the bit, as with `train.deterministic = false`.

    Args:
        shape: of the model and the batch.
        device: where.
        peak_flops: a second.
        compiled: whether the towers go through `torch.compile`.
        steps: that are timed.
        warm_up: that are not.
    """
    party = our_party(shape, Setting(compiled=compiled, precision="auto"), device)
    pairs = made_up_pairs(shape, shape.batch_size, whole_reports=True)
    seconds = _timed(lambda: party.step(pairs, LEARNING_RATE), device, steps=steps, warm_up=warm_up) / steps
    flops = forward_flops(shape) * (1 + BACKWARD) / shape.batch_size
    rate = shape.batch_size / seconds
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return Utilisation(name, rate, flops, peak_flops, rate * flops / peak_flops)


def _timed(step: Callable[[], None], device: torch.device, *, steps: int, warm_up: int) -> float:
    for _ in range(warm_up):
        step()
    _wait_for(device)
    began = time.perf_counter()
    for _ in range(steps):
        step()
    _wait_for(device)
    return time.perf_counter() - began


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
