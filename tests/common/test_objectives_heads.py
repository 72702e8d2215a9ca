"""Captioning, knowledge, and the objectives that look at the global model."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from taxonomy_samples import taxonomy_spec
from tiny import PREPARATION, stir

from common.data.batch import Batch
from common.data.batches import Batches
from common.data.corpus import read_corpus, reading_of
from common.model.encoders import Tokens
from common.model.vlp import VLPModel, build_model
from common.objectives.captioning import Captioning
from common.objectives.knowledge import Knowledge
from common.objectives.reference import distillation_loss
from common.project import Project
from common.seeds import generator
from common.store import Store


@pytest.fixture
def opened(project: Project, stores: dict[str, Store]) -> Any:
    def build(objectives: dict[str, Any]) -> tuple[VLPModel, Batch]:
        spec = taxonomy_spec(objectives, data__anchor_pairs=0, data__sentence_share=0.0)
        corpus = read_corpus(
            stores["east"], "train", project.tokenizer, preparation=PREPARATION, reading=reading_of(spec)
        )
        model = build_model(spec, project.tokenizer.vocabulary_size)
        stir(model)
        return model, Batches(spec, project.tokenizer, corpus, None, "east").at(0)

    return build


def test_a_caption_is_written_without_looking_ahead(opened: Any) -> None:
    model, batch = opened({"captioning": {}})
    head = model.objectives["captioning"]
    assert isinstance(head, Captioning)
    image: Tokens = model.image(batch.images)
    tokens = batch.tokens.clone()
    before = head.next_words(tokens, batch.token_mask, image, model.text.embedding.weight)
    tokens[:, 4:] = 7
    after = head.next_words(tokens, batch.token_mask, image, model.text.embedding.weight)
    torch.testing.assert_close(after[:, :4], before[:, :4])
    assert not torch.allclose(after[:, 4:], before[:, 4:])


def test_a_caption_depends_on_the_image_and_a_fresh_head_guesses_evenly(
    opened: Any, project: Project
) -> None:
    model, batch = opened({"captioning": {}})
    loss = model.losses(batch)["captioning"].mean
    other = model.losses(replace(batch, images=batch.images.flip(0)))["captioning"].mean
    assert loss.item() != pytest.approx(other.item(), abs=1e-6)
    fresh = build_model(taxonomy_spec({"captioning": {}}), project.tokenizer.vocabulary_size)
    even = math.log(project.tokenizer.vocabulary_size)
    assert fresh.losses(batch)["captioning"].mean.item() == pytest.approx(even, rel=0.1)


@pytest.mark.parametrize("silence", [False, True])
def test_only_what_a_report_states_or_denies_is_asked(opened: Any, silence: bool) -> None:
    model, batch = opened({"knowledge": {"silence_is_absence": silence}})
    head = model.objectives["knowledge"]
    assert isinstance(head, Knowledge)
    entities = batch.entities
    assert entities is not None
    a, b, c = entities.observed[:3].tolist()
    nothing = torch.zeros_like(batch.findings)
    stated, doubted, denied = nothing.clone(), nothing.clone(), nothing.clone()
    stated[0, a], denied[0, b] = True, True
    stated[1, c] = doubted[1, c] = True
    whole = torch.tensor([False, True] + [False] * (len(batch) - 2))
    truth, asked = head.questions(
        replace(batch, findings=stated, doubted=doubted, denied=denied, whole_report=whole)
    )
    assert asked[0].nonzero()[:, 0].tolist() == [0, 1]
    assert truth[0, :2].tolist() == [1, 0]
    assert asked[1].sum() == (len(entities.observed) - 1 if silence else 0)
    assert not asked[2:].any()


def test_entities_hear_their_neighbours_in_the_graph(opened: Any) -> None:
    model, batch = opened({"knowledge": {"graph_rounds": 1}})
    head = model.objectives["knowledge"]
    entities = batch.entities
    words = model.text.embedding.weight.detach().clone()
    before = head.entities(entities, words)
    place = int(entities.neighbours.any(dim=1).nonzero()[0, 0])
    pieces = entities.pieces.clone()
    pieces[place] = pieces[(place + 7) % len(pieces)]
    after = head.entities(replace(entities, pieces=pieces), words)
    changed = ((after - before).abs().amax(dim=1) > 1e-6).nonzero()[:, 0].tolist()
    near = entities.neighbours[:, place].nonzero()[:, 0].tolist()
    assert set(changed) == {place, *near}


def test_a_student_that_agrees_with_its_teacher_costs_nothing() -> None:
    logits = torch.randn(5, 5, generator=generator(0))
    assert distillation_loss(logits, logits).item() == pytest.approx(0, abs=1e-6)
    # Teacher even, student (p, 1 - p): KL = log(1/2) - (log p + log(1 - p)) / 2 in each row and column.
    student = torch.tensor([[math.log(3), 0.0], [0.0, math.log(3)]])
    expected = math.log(0.5) - (math.log(0.75) + math.log(0.25)) / 2
    assert distillation_loss(student, torch.zeros(2, 2)).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("objective", "kind"), [("distillation", None), ("anchor", "features"), ("anchor", "proximal")]
)
def test_the_global_model_is_what_it_was_and_holds_the_local_one_back(
    opened: Any, objective: str, kind: str | None
) -> None:
    settings = {} if kind is None else {"kind": kind}
    model, batch = opened({"global_contrastive": {}, objective: settings})
    with model.remembering():
        assert model.losses(batch)[objective].mean.item() == pytest.approx(0, abs=1e-6)
        stir(model)
        away = model.losses(batch)[objective].mean
        assert away.item() > 1e-4
        away.backward()
        with torch.no_grad():
            for weight in model.parameters():
                if weight.grad is not None:
                    weight -= 1e-3 * weight.grad
        assert model.losses(batch)[objective].mean.item() < away.item()
    assert model.losses(batch)[objective].mean.item() == pytest.approx(0, abs=1e-6)


def test_the_proximal_term_is_half_the_squared_distance(opened: Any) -> None:
    model, batch = opened({"global_contrastive": {}, "anchor": {"kind": "proximal"}})
    with model.remembering():
        with torch.no_grad():
            for weight in model.parameters():
                weight += 0.5
        number = sum(weight.numel() for weight in model.parameters())
        assert model.losses(batch)["anchor"].mean.item() == pytest.approx(0.125 * number, rel=1e-4)
