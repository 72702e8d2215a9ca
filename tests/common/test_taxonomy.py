"""What holds for every objective of the taxonomy."""

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
from taxonomy_samples import EVERYTHING, HEAD, OBJECTIVES, taxonomy_spec
from tiny import PREPARATION, stir

from common.data.batch import Batch
from common.data.batches import Batches
from common.data.corpus import read_corpus, reading_of
from common.model.vlp import VLPModel, build_model
from common.objectives.registry import OBJECTIVES as REGISTERED
from common.objectives.registry import REGULARISERS
from common.project import Project
from common.spec.objectives import ObjectivesSpec
from common.spec.run import Spec
from common.store import Store
from common.text.tokenizer import CLS, IGNORED, SEP
from common.training.gradient import Plan, backpropagate


@pytest.fixture
def hospital(project: Project, stores: dict[str, Store], bank: Store) -> Any:
    """Spec -> a stirred model and the batches of one hospital."""

    def open_hospital(spec: Spec) -> tuple[VLPModel, Batches]:
        reading = reading_of(spec)
        private = read_corpus(
            stores["east"], "train", project.tokenizer, preparation=PREPARATION, reading=reading
        )
        anchors = read_corpus(bank, None, project.tokenizer, preparation=PREPARATION, reading=reading)
        model = build_model(spec, project.tokenizer.vocabulary_size)
        stir(model)
        return model, Batches(spec, project.tokenizer, private, anchors, "east")

    return open_hospital


def lacking(batch: Batch, *, images: list[int], texts: list[int]) -> Batch:
    """`batch` without some rows' images and reports, as a store that lacks them gives it."""
    pixels, has_image, has_text = batch.images.clone(), batch.has_image.clone(), batch.has_text.clone()
    tokens, mask = batch.tokens.clone(), batch.token_mask.clone()
    pixels[images], has_image[images] = 0, False
    tokens[texts], mask[texts], has_text[texts] = 0, False, False
    tokens[texts, :2], mask[texts, :2] = torch.tensor([CLS, SEP]), True
    changes: dict[str, Any] = {}
    if batch.masked_tokens is not None and batch.token_labels is not None:
        hidden, labels = batch.masked_tokens.clone(), batch.token_labels.clone()
        hidden[texts], labels[texts] = tokens[texts], IGNORED
        changes |= {"masked_tokens": hidden, "token_labels": labels}
    for name in ("findings", "doubted", "denied", "whole_report", "words"):
        if (known := getattr(batch, name)) is not None:
            cleared = known.clone()
            cleared[texts] = 0
            changes[name] = cleared
    return replace(
        batch,
        images=pixels,
        has_image=has_image,
        tokens=tokens,
        token_mask=mask,
        has_text=has_text,
        **changes,
    )


def test_every_table_of_the_spec_has_its_objective() -> None:
    assert REGISTERED.keys() == ObjectivesSpec.model_fields.keys() == EVERYTHING.keys()


@pytest.mark.parametrize(
    ("name", "fusion"),
    [*((name, "late") for name in OBJECTIVES), ("matching", "early"), ("masked_language_fused", "early")],
)
def test_it_gives_a_finite_loss_and_every_weight_of_its_own_a_finite_gradient(
    hospital: Any, name: str, fusion: str
) -> None:
    model, batches = hospital(taxonomy_spec(OBJECTIVES[name], fusion=fusion))
    with model.remembering():
        stir(model)
        found = model.losses(batches.at(0))
    assert found.keys() == OBJECTIVES[name].keys()
    model.total(found).backward()
    assert all(loss.mean.isfinite() and loss.rows > 0 for loss in found.values())
    own = dict(model.objectives.named_parameters())
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in own.values())
    assert [key for key, weight in own.items() if not weight.grad.any()] == []


@pytest.mark.parametrize("name", OBJECTIVES)
def test_rows_without_what_it_needs_change_nothing(hospital: Any, name: str) -> None:
    """What stands where an image or a report is missing has no part in the loss."""
    model, batches = hospital(taxonomy_spec(OBJECTIVES[name]))
    batch = lacking(batches.at(1), images=[0, 4], texts=[1, 4])
    found = model.losses(batch)
    noise = batch.images.clone()
    noise[[0, 4]] = torch.rand(2, *noise.shape[1:])
    words = batch.tokens.clone()
    words[[1, 4], 0] = 7
    again = model.losses(replace(batch, images=noise, tokens=words))
    assert found.keys() == again.keys()
    for key, loss in found.items():
        assert again[key].rows == loss.rows
        torch.testing.assert_close(again[key].mean, loss.mean)


IMAGES_ALONE = {"masked_image", "two_views", "pairwise"}
TEXTS_ALONE = {
    "masked_language",
    "masked_language_alone",
    "masked_language_fused",
    "two_views",
    "pairwise",
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_image_only_and_text_only_hospitals_run_the_same_code(hospital: Any, name: str) -> None:
    model, batches = hospital(taxonomy_spec(OBJECTIVES[name]))
    batch = batches.at(2)
    everything = list(range(len(batch)))
    images = model.losses(lacking(batch, images=[], texts=everything))
    texts = model.losses(lacking(batch, images=everything, texts=[]))
    nothing = model.losses(lacking(batch, images=everything, texts=everything))
    assert bool(images.keys() - REGULARISERS) == (name in IMAGES_ALONE)
    assert bool(texts.keys() - REGULARISERS) == (name in TEXTS_ALONE)
    assert not nothing.keys() - REGULARISERS


@pytest.mark.parametrize(
    "name", [name for name in OBJECTIVES if name not in ("distillation", "anchor", "proximal")]
)
def test_it_says_truly_whether_it_couples_rows(hospital: Any, name: str) -> None:
    """A sum over rows is additive: what one row changes does not depend on what another shows and says."""
    model, batches = hospital(taxonomy_spec(OBJECTIVES[name], data__augment=False))
    batch = batches.at(0)
    other = torch.rand(2, *batch.images.shape[1:], generator=torch.Generator().manual_seed(3))

    def cost(first: bool, second: bool) -> float:
        images, tokens = batch.images.clone(), batch.tokens.clone()
        if first:
            images[0] = other[0]
        if second:
            images[1] = other[1]
            tokens[1, 1] = 40
        seconds = None if batch.second is None else replace(batch.second, images=images)
        with torch.no_grad():
            losses = model.losses(replace(batch, images=images, tokens=tokens, second=seconds))
        return sum(loss.mean.item() for loss in losses.values())

    together = cost(True, True) + cost(False, False) - cost(True, False) - cost(False, True)
    if not model.couples_rows:
        assert together == pytest.approx(0, abs=3e-6)
    elif "matching" not in name:  # whose false partners are drawn, and may be others
        assert abs(together) > 1e-5


@pytest.mark.parametrize(
    ("objectives", "seen", "read"),
    [
        (EVERYTHING, 5, 5),  # plain, masked, second, public, reference
        ({key: EVERYTHING[key] for key in ("global_contrastive", "local_contrastive", "prototypes")}, 1, 1),
        ({key: EVERYTHING[key] for key in ("global_contrastive", "image_text_matching", "captioning")}, 1, 1),
        ({"masked_language": {"condition": "none"}}, 0, 1),
        ({"captioning": {}, "masked_image": HEAD, "knowledge": {}}, 2, 0),
    ],
)
def test_objectives_together_run_each_tower_once_per_view(
    hospital: Any, objectives: dict[str, Any], seen: int, read: int
) -> None:
    model, batches = hospital(taxonomy_spec(objectives))
    calls = {"image": 0, "text": 0}

    def count(name: str) -> None:
        calls[name] += 1

    model.image.register_forward_hook(lambda *_: count("image"))
    model.text.register_forward_hook(lambda *_: count("text"))
    with model.remembering():  # a copy, hooks and all
        assert model.losses(batches.at(0)).keys() == objectives.keys()
    assert calls == {"image": seen, "text": read}


def test_the_bank_is_encoded_once_for_all_micro_batches(hospital: Any) -> None:
    model, batches = hospital(taxonomy_spec({"bank_contrastive": {}}))
    batch = model.with_public(batches.at(0))
    assert batch.public is not None
    assert batch.public.image_embedding is not None
    assert not batch.public.image_embedding.requires_grad
    calls: list[int] = []
    model.image.register_forward_hook(lambda _, given, __: calls.append(len(given[0])))
    halves = [model.losses(batch.part(*rows))["bank_contrastive"] for rows in ((0, 3), (3, len(batch)))]
    assert calls == [3, len(batch) - 3]
    whole = model.losses(batches.at(0))["bank_contrastive"]
    torch.testing.assert_close(sum(half.mean * half.rows for half in halves) / len(batch), whole.mean)


@pytest.mark.parametrize("name", [*OBJECTIVES, "everything"])
def test_chunks_give_every_parameter_the_gradient_of_the_whole_batch(hospital: Any, name: str) -> None:
    model, batches = hospital(taxonomy_spec(EVERYTHING if name == "everything" else OBJECTIVES[name]))
    batch = lacking(batches.at(3), images=[1], texts=[2])
    with model.remembering():
        stir(model)
        found, gradients = [], []
        for rows in (None, 2):
            model.zero_grad(set_to_none=True)
            plan = Plan(nullcontext, rows)
            found.append({key: loss.mean for key, loss in backpropagate(model, batch, plan, seed=0).items()})
            gradients.append({key: w.grad for key, w in model.named_parameters() if w.grad is not None})
    for losses, chunked in zip(found[1:], gradients[1:], strict=True):
        torch.testing.assert_close(losses, found[0], rtol=1e-4, atol=1e-6)
        for key, whole in gradients[0].items():
            torch.testing.assert_close(
                chunked.get(key, torch.zeros_like(whole)), whole, rtol=1e-3, atol=2e-5, msg=key
            )


@pytest.mark.slow
def test_all_objectives_together_learn(hospital: Any) -> None:
    model, batches = hospital(taxonomy_spec(EVERYTHING, data__augment=False))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    course = []
    for step in range(60):
        losses = model.losses(batches.at(step))
        optimizer.zero_grad()
        model.total(losses).backward()
        optimizer.step()
        model.after_step()
        course.append({name: loss.mean.item() for name, loss in losses.items()})
    for name in EVERYTHING.keys() - {"distillation", "anchor"}:
        costs = [step[name] for step in course if name in step]
        third = len(costs) // 3
        assert sum(costs[-third:]) < sum(costs[:third]), name
