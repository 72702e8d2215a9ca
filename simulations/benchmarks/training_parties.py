"""Who trains in the training benchmark: this project, open_clip and plain transformers, each in its own loop.

All build a two-tower model of the same widths, depths and batch, and train it on the same made-up pairs. Ours
is grey, has a convolution over neighbouring words and no class token; counts of parameters are reported.
Shapes: B pairs, S pixels a side, T word pieces.
"""

import math
from argparse import Namespace
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from common.data.batch import Batch
from common.data.layout import visible_patches
from common.model.vlp import build_model
from common.spec.run import Spec, parse_spec
from common.training.device import multiplies_bfloat16, precision_of
from common.training.gradient import Plan, backpropagate
from common.training.optimizer import build_optimizer
from common.training.towers import hasten

PartyName = Literal["ours", "open_clip", "transformers"]
PARTIES: tuple[PartyName, ...] = ("ours", "open_clip", "transformers")

LEARNING_RATE, WEIGHT_DECAY, BETAS = 1e-4, 0.05, (0.9, 0.98)
PATCH_DROPOUT = 0.5
"""Of both, where each is at its best (Li et al. 2023, arXiv:2212.00794)."""
TEXT_BUCKETS = 4
TEMPERATURE = 0.07

LENGTHS = (3, 7, 8, 10, 13, 18, 28, 34, 40, 52, 77)
"""Deciles of the word pieces that a step shows of a report, by our own tokenizer: the findings of 1308 public
chest radiograph reports, half of them by one sentence, as is the default of `data.sentence_share`."""


@dataclass(frozen=True)
class Shape:
    """The model and the batch, the same for all parties."""

    image_size: int = 96
    patch_pixels: int = 8
    image_width: int = 256
    image_depth: int = 6
    text_width: int = 256
    text_depth: int = 4
    head_width: int = 64
    max_tokens: int = 77
    vocabulary: int = 8192
    embedding: int = 256
    batch_size: int = 32


@dataclass(frozen=True)
class Setting:
    """How a party trains."""

    at_best: bool = False
    """Half of the patches dropped, the precision that suits the processor, reports as long as they are, as
    far as the party offers it; else whole images, float32 and reports that fill T."""
    compiled: bool = False
    threads: int = 1
    chunks: int = 1
    """Chunks of B pairs that make one batch, by the party's own means: caching, or accumulation."""


@dataclass(frozen=True)
class Party:
    """A model, the step that trains it, and its temperature's parameter."""

    model: nn.Module
    step: Callable[[], None]
    """Ends with the gradients still in place."""
    log_scale: nn.Parameter
    full_step: Callable[[], None] | None = None
    """The gradient of all chunks as one batch, without an optimiser's step; None where `step` is that."""


def made_up_pairs(shape: Shape, rows: int, *, whole_reports: bool) -> tuple[Tensor, Tensor, Tensor]:
    """(B, 3, S, S) images, (B, T) word pieces and the reports' lengths (B,); the same on every call."""
    chance = torch.Generator().manual_seed(0)
    images = torch.rand(rows, 3, shape.image_size, shape.image_size, generator=chance)
    tokens = torch.randint(5, shape.vocabulary - 1, (rows, shape.max_tokens), generator=chance)
    if whole_reports:
        return images, tokens, torch.full((rows,), shape.max_tokens)
    place = torch.rand(rows, generator=chance) * (len(LENGTHS) - 1)
    below = place.long().clamp(max=len(LENGTHS) - 2)
    deciles = torch.tensor(LENGTHS, dtype=torch.float32)
    lengths = deciles[below] + (place - below) * (deciles[below + 1] - deciles[below])
    return images, tokens, lengths.round().long().clamp(max=shape.max_tokens)


def build_party(name: PartyName, shape: Shape, setting: Setting) -> Party:
    """The party `name`, ready to train."""
    torch.set_num_threads(setting.threads)
    torch.manual_seed(0)
    rows = shape.batch_size * setting.chunks
    pairs = made_up_pairs(shape, rows, whole_reports=not setting.at_best)
    builders = {"ours": _ours, "open_clip": _open_clip, "transformers": _transformers}
    return builders[name](shape, setting, *pairs)


def _ours(shape: Shape, setting: Setting, images: Tensor, tokens: Tensor, lengths: Tensor) -> Party:
    spec = _our_spec(shape, setting)
    model = build_model(spec, shape.vocabulary)
    hasten(model, spec.train)
    optimizer = build_optimizer(model, spec.train)
    mask = torch.arange(int(lengths.max()))[None] < lengths[:, None]
    there = torch.ones(len(images), dtype=torch.bool)
    batch = Batch(
        images=images[:, :1].contiguous(),
        has_image=there,
        tokens=tokens[:, : mask.shape[1]] * mask,
        token_mask=mask,
        has_text=there,
        study=torch.arange(len(images)),
        kept_patches=visible_patches(spec, len(images), PATCH_DROPOUT, torch.Generator().manual_seed(1))
        if setting.at_best
        else None,
    )
    device = torch.device("cpu")

    def backward(chunk_rows: int | None) -> None:
        optimizer.zero_grad(set_to_none=True)
        backpropagate(model, batch, Plan(lambda: precision_of(spec.train, device), chunk_rows), seed=0)

    def step() -> None:
        model.train()
        backward(shape.batch_size if setting.chunks > 1 else None)
        nn.utils.clip_grad_norm_(model.parameters(), spec.train.gradient_norm)
        optimizer.step()
        model.after_step()

    log_scale = model.get_parameter("objectives.global_contrastive.log_scale")
    if setting.chunks == 1:
        return Party(model, step, log_scale)
    return Party(model, lambda: backward(shape.batch_size), log_scale, lambda: backward(None))


def _our_spec(shape: Shape, setting: Setting) -> Spec:
    return parse_spec(
        {
            "name": "training-benchmark",
            "model": {
                "image_size": shape.image_size,
                "embedding_width": shape.embedding,
                "image": {
                    "encoder": "vit",
                    "width": shape.image_width,
                    "depth": shape.image_depth,
                    "heads": shape.image_width // shape.head_width,
                    "patch_pixels": shape.patch_pixels,
                },
                "text": {
                    "width": shape.text_width,
                    "depth": shape.text_depth,
                    "heads": shape.text_width // shape.head_width,
                    "max_tokens": shape.max_tokens,
                    "vocabulary_size": shape.vocabulary,
                },
            },
            "objectives": {
                "global_contrastive": {"targets": {"positives": []}, "initial_temperature": TEMPERATURE}
            },
            "data": {"batch_size": shape.batch_size, "anchor_pairs": 0, "images": {"burned_in": "keep"}},
            "train": {
                "local_steps": 1,
                "learning_rate": LEARNING_RATE,
                "weight_decay": WEIGHT_DECAY,
                "precision": "auto" if setting.at_best else "fp32",
                "text_buckets": TEXT_BUCKETS if setting.at_best else 1,
                "compile": setting.compiled,
                "threads": setting.threads,
            },
            "federation": {"rounds": 1, "min_sites": 1},
            "privacy": {"mode": "none"},
            "secure_aggregation": {"mode": "off"},
        },
        where="training benchmark",
    )


def _open_clip(shape: Shape, setting: Setting, images: Tensor, tokens: Tensor, lengths: Tensor) -> Party:
    """open_clip's model, loss and `train_one_epoch`; texts are padded to T, as its tokenizer pads them."""
    declare_box_operators()
    from open_clip.loss import ClipLoss
    from open_clip.model import CLIP
    from open_clip_train.train import train_one_epoch

    model: Any = CLIP(
        embed_dim=shape.embedding,
        vision_cfg={
            "image_size": shape.image_size,
            "patch_size": shape.patch_pixels,
            "width": shape.image_width,
            "layers": shape.image_depth,
            "head_width": shape.head_width,
            "patch_dropout": PATCH_DROPOUT if setting.at_best else 0.0,
        },
        text_cfg={
            "context_length": shape.max_tokens,
            "vocab_size": shape.vocabulary,
            "width": shape.text_width,
            "heads": shape.text_width // shape.head_width,
            "layers": shape.text_depth,
        },
        output_dict=True,
    )
    texts = tokens * (torch.arange(shape.max_tokens)[None] < lengths[:, None])
    texts[torch.arange(len(texts)), lengths - 1] = shape.vocabulary - 1  # its end of text, the largest number
    optimizer = _open_clip_optimizer(model)
    low = setting.at_best and multiplies_bfloat16(torch.device("cpu"))
    args = Namespace(
        device="cpu",
        precision="amp_bf16" if low else "fp32",
        accum_freq=setting.chunks,
        batch_size=shape.batch_size,
        distill=False,
        skip_scheduler=True,
        horovod=False,
        grad_clip_norm=None,
        log_every_n_steps=1 << 30,
        rank=0,
        local_rank=0,
        world_size=1,
        save_logs=False,
        wandb=False,
    )
    trained = torch.compile(model) if setting.compiled else model
    batches = list(zip(*(torch.split(rows, shape.batch_size) for rows in (images, texts)), strict=True))
    loader: Any = _Loader(batches)

    def epoch(rate: float) -> None:
        for group in optimizer.param_groups:
            group["lr"] = rate
        data = {"train": SimpleNamespace(set_epoch=lambda _: None, dataloader=loader)}
        train_one_epoch(trained, data, ClipLoss(), 0, optimizer, None, None, None, args)

    def full() -> None:
        optimizer.zero_grad()
        torch.autograd.backward(ClipLoss()(**model(images, texts)))

    if setting.chunks == 1:
        return Party(model, lambda: epoch(LEARNING_RATE), model.logit_scale)
    return Party(model, lambda: epoch(0.0), model.logit_scale, full)


class _Loader(list[tuple[Tensor, Tensor]]):
    """Batches with what open_clip asks a loader for."""

    @property
    def num_batches(self) -> int:
        return len(self)

    @property
    def num_samples(self) -> int:
        return sum(len(images) for images, _ in self)


def _open_clip_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    """As `open_clip_train.main` builds it: no decay of vectors, norms and biases."""
    plain = [w for name, w in model.named_parameters() if w.ndim < 2 or "ln" in name or "logit_scale" in name]
    known = {id(weight) for weight in plain}
    others = [weight for weight in model.parameters() if id(weight) not in known]
    groups = [{"params": plain, "weight_decay": 0.0}, {"params": others, "weight_decay": WEIGHT_DECAY}]
    return torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=BETAS, eps=1e-6)


def declare_box_operators() -> None:
    """Let torchvision be imported whatever torch it was built for; of its C++ only two boxes are named."""
    library: Any = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]  # torch's
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _DECLARED.append(library)


_DECLARED: list[Any] = []
"""A library's declarations last as long as it does."""


def _transformers(shape: Shape, setting: Setting, images: Tensor, tokens: Tensor, lengths: Tensor) -> Party:
    """`CLIPModel` as its documentation trains it, texts padded to the longest; it drops no patches."""
    from transformers import CLIPConfig, CLIPModel

    tower = {"intermediate_size": 4 * shape.image_width, "projection_dim": shape.embedding}
    config = CLIPConfig(
        projection_dim=shape.embedding,
        vision_config=tower
        | {
            "hidden_size": shape.image_width,
            "num_hidden_layers": shape.image_depth,
            "num_attention_heads": shape.image_width // shape.head_width,
            "image_size": shape.image_size,
            "patch_size": shape.patch_pixels,
        },
        text_config=tower
        | {
            "hidden_size": shape.text_width,
            "intermediate_size": 4 * shape.text_width,
            "num_hidden_layers": shape.text_depth,
            "num_attention_heads": shape.text_width // shape.head_width,
            "max_position_embeddings": shape.max_tokens,
            "vocab_size": shape.vocabulary,
            "bos_token_id": 0,
            "pad_token_id": 0,
            "eos_token_id": shape.vocabulary - 1,
        },
    )
    model = CLIPModel(config).train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=LEARNING_RATE, betas=BETAS, weight_decay=WEIGHT_DECAY, fused=True
    )
    mask = torch.arange(int(lengths.max()))[None] < lengths[:, None]
    texts = tokens[:, : mask.shape[1]] * mask
    texts[torch.arange(len(texts)), lengths - 1] = shape.vocabulary - 1
    trained = torch.compile(model) if setting.compiled else model
    low = setting.at_best and multiplies_bfloat16(torch.device("cpu"))

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16) if low else nullcontext():
            said = trained(input_ids=texts, attention_mask=mask.long(), pixel_values=images, return_loss=True)
        said.loss.backward()
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))

    return Party(model, step, model.logit_scale)
