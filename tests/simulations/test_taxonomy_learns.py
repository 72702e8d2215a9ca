"""The important objectives learn what they are for, on made-up patients whose truth is known."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from taxonomy_samples import taxonomy_spec
from tiny import PREPARATION, SITES, tiny_store

from common.data.batch import Batch
from common.data.batches import Batches, fixed_batches
from common.data.corpus import read_corpus, reading_of
from common.model.vlp import VLPModel
from common.objectives.knowledge import Knowledge
from common.objectives.matching import ImageTextMatching
from common.project import create_project
from common.training.trainer import train

pytestmark = pytest.mark.slow
STEPS = 150


@pytest.fixture(scope="module")
def learn(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Objectives -> a model trained on one tiny hospital, and the whole of its test patients as one batch."""
    folder = tmp_path_factory.mktemp("learn")
    store, bank = tiny_store(folder / "east", rows=200), tiny_store(folder / "bank", seed=9, rows=20)

    def run(objectives: dict[str, Any], steps: int = STEPS, **changes: Any) -> tuple[VLPModel, Batch]:
        width = {"width": 32, "heads": 4}
        spec = taxonomy_spec(
            objectives,
            data__anchor_pairs=0,
            data__batch_size=24,
            data__sentence_share=0.0,
            model__embedding_width=32,
            model__image={"encoder": "vit", "depth": 2, "patch_pixels": 4, **width},
            model__text={"depth": 1, "max_tokens": 24, "vocabulary_size": 512, **width},
            train__learning_rate=3e-3,
            **changes,
        )
        project = create_project(folder / spec.digest()[:12], spec, sites=[*SITES], bank=bank)
        reading = reading_of(spec)
        rows, held = (
            read_corpus(store, split, project.tokenizer, preparation=PREPARATION, reading=reading)
            for split in ("train", "test")
        )
        anchors = read_corpus(bank, None, project.tokenizer, preparation=PREPARATION, reading=reading)
        model = project.fresh_model()
        batches = Batches(spec, project.tokenizer, rows, anchors, "east")
        train(model, batches, spec, first_step=0, steps=steps, total_steps=steps)
        one = spec.model_copy(update={"data": spec.data.model_copy(update={"batch_size": len(held)})})
        (batch,) = fixed_batches(one, project.tokenizer, held, purpose="test")
        return model.eval(), batch

    return run


def is_left(batch: Batch) -> np.ndarray[Any, Any]:
    """1 where the bright patch is on the left of the image, 0 on the right, -1 nowhere: the truth itself."""
    left, right = batch.images[:, 0, 4:8, :8].mean((1, 2)), batch.images[:, 0, 4:8, 8:].mean((1, 2))
    return np.where((left - right).abs() < 0.2, -1, (left > right).int()).astype(int)


@pytest.mark.parametrize(
    "objectives",
    [
        {"global_contrastive": {}},
        {"global_contrastive": {"kind": "sigmoid"}},
        {"global_contrastive": {"kind": "decoupled"}},
        {"bank_contrastive": {}},
        {"bank_contrastive": {"partner": "label_cosine"}},
    ],
    ids=["softmax", "sigmoid", "decoupled", "bank", "bank-by-findings"],
)
def test_contrast_tells_left_from_right_by_words_alone(learn: Any, objectives: dict[str, Any]) -> None:
    model, batch = learn(objectives)
    assert side_auroc(model, batch) > 0.9


def side_auroc(model: VLPModel, batch: Batch) -> float:
    """How well "left" and "right" in words tell the sides of images."""
    truth = is_left(batch)
    left = next(row for row in range(len(batch)) if truth[row] == 1)
    right = next(row for row in range(len(batch)) if truth[row] == 0)
    with torch.no_grad():
        images = model.embed_images(batch.images)
        texts = model.embed_texts(batch.tokens[[left, right]], batch.token_mask[[left, right]])
    scores = (images @ (texts[0] - texts[1])).numpy()
    sided = truth >= 0
    return float(roc_auc_score(truth[sided], scores[sided]))


def test_flips_that_turn_the_words_keep_the_sides_apart_and_others_do_not(
    learn: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, batch = learn({"global_contrastive": {}}, data__flip_share=0.5)
    assert side_auroc(honest, batch) > 0.9
    mirror = Batches._mirror

    def turn_images_alone(self: Batches, *given: Any) -> Any:
        images, _ = mirror(self, *given)
        return images, given[3]

    monkeypatch.setattr(Batches, "_mirror", turn_images_alone)
    naive, batch = learn({"global_contrastive": {}}, data__flip_share=0.5, seed=8)
    assert 0.2 < side_auroc(naive, batch) < 0.8


def test_matching_tells_true_pairs_from_shuffled_ones(learn: Any) -> None:
    model, batch = learn({"global_contrastive": {}, "image_text_matching": {}}, steps=300)
    head = model.objectives["image_text_matching"]
    assert isinstance(head, ImageTextMatching)
    truth = is_left(batch)
    rows = torch.arange(len(batch))
    with torch.no_grad():
        views = model.views(batch)
        own = head.score(views, batch, rows, rows).numpy()
        false = [(i, j) for i in rows.tolist() for j in rows.tolist() if truth[i] != truth[j]]
        seen, read = (torch.tensor(side) for side in zip(*false, strict=True))
        other = head.score(views, batch, seen, read).numpy()
    labels = np.concatenate([np.ones(len(own)), np.zeros(len(other))])
    assert roc_auc_score(labels, np.concatenate([own, other])) > 0.95  # 0.89 after 150 steps


def test_knowledge_finds_the_opacity_without_a_report(learn: Any) -> None:
    model, batch = learn({"knowledge": {"silence_is_absence": True}}, steps=500)
    head = model.objectives["knowledge"]
    assert isinstance(head, Knowledge)
    with torch.no_grad():
        odds = head.odds(model.image(batch.images), batch, model.text.embedding.weight)
    assert batch.findings is not None
    assert batch.entities is not None
    stated = batch.findings[:, batch.entities.observed]
    column = int(stated.float().var(dim=0).argmax())
    assert roc_auc_score(stated[:, column].numpy(), odds[:, column].numpy()) > 0.9


def test_hidden_words_are_guessed_better_with_the_image_than_without(learn: Any) -> None:
    cost = {}
    for condition in ("image", "none"):
        model, batch = learn({"masked_language": {"condition": condition, "ratio": 0.5}}, steps=500)
        with torch.no_grad():
            cost[condition] = model.losses(batch)["masked_language"].mean.item()
    assert cost["image"] < 0.8 * cost["none"]


def test_a_caption_names_the_side_that_the_image_shows(learn: Any) -> None:
    model, batch = learn({"captioning": {}}, steps=500)
    truth = is_left(batch)
    with torch.no_grad():
        own = model.losses(batch)["captioning"].mean.item()
        mirrored = model.losses(replace(batch, images=batch.images.flip(-1)))["captioning"].mean.item()
    assert (truth >= 0).any()
    assert own < 0.7 * mirrored
