"""This project's party in the training benchmark: the model, the gradient and the optimiser of a site."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from common.data.batch import Batch
from common.data.layout import visible_patches
from common.model.vlp import build_model
from common.spec.run import Spec, parse_spec
from common.training.device import made_on, precision_of
from common.training.gradient import Plan, backpropagate
from common.training.optimizer import build_optimizer, set_learning_rate
from common.training.towers import hasten
from simulations.benchmarks.training_party import (
    LEARNING_RATE,
    PATCH_DROPOUT,
    TEMPERATURE,
    TEXT_BUCKETS,
    WEIGHT_DECAY,
    Pairs,
    Party,
    Setting,
    Shape,
)

CPU = torch.device("cpu")


def our_party(shape: Shape, setting: Setting, device: torch.device = CPU) -> Party:
    """Our model and step; at its best with half of the patches, buckets, and the processor's precision."""
    spec = our_spec(shape, setting)
    model = build_model(spec, shape.vocabulary)
    model.to(device)
    hasten(model, spec.train)
    optimizer = build_optimizer(model, spec.train)
    chance = torch.Generator().manual_seed(1)

    def backward(pairs: Pairs, chunk_rows: int | None) -> None:
        optimizer.zero_grad(set_to_none=True)
        batch = our_batch(pairs)
        if setting.at_best:
            kept = visible_patches(spec, len(batch), PATCH_DROPOUT, chance)
            batch = replace(batch, kept_patches=kept)
        plan = Plan(lambda: precision_of(spec.train, device), chunk_rows)
        with made_on(device):
            backpropagate(model, batch.to(device), plan, seed=0)

    def step(pairs: Pairs, rate: float) -> None:
        model.train()
        set_learning_rate(optimizer, rate)
        backward(pairs, None)
        nn.utils.clip_grad_norm_(model.parameters(), spec.train.gradient_norm)
        optimizer.step()
        model.after_step()

    def embed_texts(tokens: Tensor, lengths: Tensor) -> Tensor:
        return model.embed_texts(*_masked(tokens, lengths))

    party = Party(
        model,
        step,
        model.get_parameter("objectives.global_contrastive.log_scale"),
        embed_images=lambda images: model.embed_images(images[:, :1]),
        embed_texts=embed_texts,
    )
    if setting.chunks == 1:
        return party
    return replace(
        party,
        step=lambda pairs, _: backward(pairs, shape.batch_size),
        full_step=lambda pairs: backward(pairs, None),
    )


def our_batch(pairs: Pairs) -> Batch:
    """The pairs as a batch of ours: grey, reports cut to the longest."""
    tokens, mask = _masked(pairs.tokens, pairs.lengths)
    there = torch.ones(len(tokens), dtype=torch.bool)
    return Batch(
        images=pairs.images[:, :1].contiguous(),
        has_image=there,
        tokens=tokens,
        token_mask=mask,
        has_text=there,
        study=torch.arange(len(tokens)),
    )


def _masked(tokens: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens cut to the longest report, zeros behind each, and the mask that says so."""
    mask = torch.arange(int(lengths.max()))[None] < lengths[:, None]
    return tokens[:, : mask.shape[1]] * mask, mask


def our_spec(shape: Shape, setting: Setting) -> Spec:
    """The spec that such a model and step have."""
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
                "precision": setting.precision,
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
