"""The other parties of the training benchmark, each in the loop of its own project or documentation.

Shapes: B pairs, T word pieces.
"""

import math
from argparse import Namespace
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.library import Library

from common.training.device import multiplies_bfloat16
from simulations.benchmarks.training_party import (
    BETAS,
    LEARNING_RATE,
    PATCH_DROPOUT,
    WEIGHT_DECAY,
    Pairs,
    Party,
    Setting,
    Shape,
)


def open_clip_party(shape: Shape, setting: Setting) -> Party:
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
    optimizer = _open_clip_optimizer(model)
    low = setting.precision == "auto" and multiplies_bfloat16(torch.device("cpu"))
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

    def texts_of(tokens: Tensor, lengths: Tensor) -> Tensor:
        return _ended(tokens, lengths, shape, width=shape.max_tokens)

    def epoch(pairs: Pairs, rate: float) -> None:
        for group in optimizer.param_groups:
            group["lr"] = rate
        model.train()
        both = (pairs.images, texts_of(pairs.tokens, pairs.lengths))
        batches = zip(*(torch.split(rows, shape.batch_size) for rows in both), strict=True)
        loader: Any = _Loader(batches)
        data = {"train": SimpleNamespace(set_epoch=lambda _: None, dataloader=loader)}
        train_one_epoch(trained, data, ClipLoss(), 0, optimizer, None, None, None, args)

    def full(pairs: Pairs) -> None:
        optimizer.zero_grad()
        said = model(pairs.images, texts_of(pairs.tokens, pairs.lengths))
        torch.autograd.backward(ClipLoss()(**said))

    party = Party(
        model,
        epoch,
        model.logit_scale,
        embed_images=model.encode_image,
        embed_texts=lambda tokens, lengths: model.encode_text(texts_of(tokens, lengths)),
    )
    if setting.chunks == 1:
        return party
    return replace(party, step=lambda pairs, _: epoch(pairs, 0.0), full_step=full)


def _ended(tokens: Tensor, lengths: Tensor, shape: Shape, *, width: int) -> Tensor:
    """(B, width) word pieces, zeros behind each report, its last one the end of text, the largest."""
    texts = F.pad(tokens, (0, max(0, width - tokens.shape[1])))[:, :width]
    texts = texts * (torch.arange(width)[None] < lengths[:, None])
    texts[torch.arange(len(texts)), lengths - 1] = shape.vocabulary - 1
    return texts


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
    library: Any = Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _DECLARED.append(library)


_DECLARED: list[Any] = []
"""A library's declarations last as long as it does."""


def transformers_party(shape: Shape, setting: Setting) -> Party:
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
    trained = torch.compile(model) if setting.compiled else model
    low = setting.precision == "auto" and multiplies_bfloat16(torch.device("cpu"))

    def read(tokens: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        texts = _ended(tokens, lengths, shape, width=int(lengths.max()))
        return {
            "input_ids": texts,
            "attention_mask": (torch.arange(texts.shape[1])[None] < lengths[:, None]).long(),
        }

    def step(pairs: Pairs, rate: float) -> None:
        for group in optimizer.param_groups:
            group["lr"] = rate
        model.train()
        optimizer.zero_grad()
        texts = read(pairs.tokens, pairs.lengths)
        with torch.autocast("cpu", dtype=torch.bfloat16) if low else nullcontext():
            said = trained(**texts, pixel_values=pairs.images, return_loss=True)
        said.loss.backward()
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))

    return Party(
        model,
        step,
        model.logit_scale,
        embed_images=lambda images: _features(model.get_image_features(pixel_values=images)),
        embed_texts=lambda tokens, lengths: _features(model.get_text_features(**read(tokens, lengths))),
    )


def _features(said: Any) -> Tensor:
    """Features as `transformers` returns them: a tensor until version 4, then an output that pools them."""
    features: Tensor = said if isinstance(said, Tensor) else said.pooler_output
    return features
