import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import stir, tiny_spec
from torch import Tensor

from common.data.batch import Batch
from common.data.batches import Batches
from common.data.corpus import Corpus
from common.model.encoders import Tokens, patches
from common.model.vlp import VLPModel, build_model
from common.objectives.base import Views
from common.objectives.contrastive import MAX_LOG_SCALE, GlobalContrastive, contrastive_loss
from common.objectives.masked_image import MaskedImage, normalised_patches
from common.objectives.targets import Said, entity_overlap, mix_targets, same_study, same_text
from common.project import Project
from common.seeds import generator
from common.spec.objectives import GlobalContrastiveSpec, MaskedImageSpec, TargetsSpec
from common.text.tokenizer import CLS, IGNORED, SEP

UNIT_SCALE = torch.zeros(1)


def shared_text_or_study(tokens: Tensor, study: Tensor) -> Tensor:
    return (same_text(tokens) | same_study(study)).float()


def unit(rows: int, width: int, seed: int) -> Tensor:
    return F.normalize(torch.randn(rows, width, generator=generator(seed)), dim=-1)


@pytest.fixture
def batch(project: Project, corpus: Corpus, anchors: Corpus) -> Batch:
    return Batches(project.spec, project.tokenizer, corpus, anchors, "east").at(0)


@pytest.fixture
def model(project: Project) -> VLPModel:
    return project.fresh_model()


def without(batch: Batch, *, images: list[int] = [], texts: list[int] = []) -> Batch:  # noqa: B006 - read only
    """`batch` with some rows' images or reports missing, as `build_batch` lays them out."""
    has_image, has_text = batch.has_image.clone(), batch.has_text.clone()
    has_image[images], has_text[texts] = False, False
    pixels, tokens, mask = batch.images.clone(), batch.tokens.clone(), batch.token_mask.clone()
    pixels[images] = 0
    tokens[texts], mask[texts] = 0, False
    tokens[texts, :2], mask[texts, :2] = torch.tensor([CLS, SEP]), True
    assert batch.token_labels is not None
    assert batch.masked_tokens is not None
    labels, hidden = batch.token_labels.clone(), batch.masked_tokens.clone()
    labels[texts], hidden[texts] = IGNORED, tokens[texts]
    return replace(
        batch,
        images=pixels,
        has_image=has_image,
        tokens=tokens,
        token_mask=mask,
        has_text=has_text,
        masked_tokens=hidden,
        token_labels=labels,
    )


@pytest.mark.parametrize("pairs", [2, 7, 64])
def test_costs_log_b_when_embeddings_say_nothing(pairs: int) -> None:
    same = torch.ones(pairs, 1)
    loss = contrastive_loss(same, same, UNIT_SCALE, torch.eye(pairs))
    assert loss.item() == pytest.approx(math.log(pairs))


def test_costs_the_entropy_of_the_partners_at_best() -> None:
    image = torch.eye(4)
    target = torch.block_diag(torch.ones(2, 2), torch.eye(2))
    perfect = contrastive_loss(image, image, torch.tensor([math.log(1e4)]), torch.eye(4))
    assert perfect.item() == pytest.approx(0, abs=1e-6)
    # Rows 0 and 1 have two partners each; identical embeddings share the chance equally between them.
    twins = torch.tensor([[1.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    shared = contrastive_loss(twins, twins, torch.tensor([math.log(1e4)]), target)
    assert shared.item() == pytest.approx(math.log(2) / 2, abs=1e-6)


@given(st.integers(0, 2**32), st.floats(0, MAX_LOG_SCALE))
@settings(max_examples=25, deadline=None)
def test_identity_targets_give_the_cross_entropy_of_torch(seed: int, log_scale: float) -> None:
    image, report = unit(4, 3, seed), unit(4, 3, seed + 1)
    logits = math.exp(log_scale) * image @ report.T
    expected = (F.cross_entropy(logits, torch.arange(4)) + F.cross_entropy(logits.T, torch.arange(4))) / 2
    found = contrastive_loss(image, report, torch.tensor([log_scale]), torch.eye(4))
    assert found.item() == pytest.approx(expected.item(), rel=1e-4, abs=1e-5)


@given(st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_images_and_reports_may_change_places_and_rows_their_order(seed: int) -> None:
    image, report = unit(5, 3, seed), unit(5, 3, seed + 1)
    target = shared_text_or_study(torch.tensor([[1], [1], [2], [3], [4]]), torch.tensor([0, 1, 2, 2, 3]))
    loss = contrastive_loss(image, report, UNIT_SCALE, target)
    assert torch.allclose(contrastive_loss(report, image, UNIT_SCALE, target), loss)
    order = torch.randperm(5, generator=generator(seed, "order"))
    mixed = contrastive_loss(image[order], report[order], UNIT_SCALE, target[order][:, order])
    assert torch.allclose(mixed, loss, atol=1e-6)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=8))
def test_pairs_of_one_text_or_one_study_are_partners(pairs: list[tuple[int, int]]) -> None:
    texts = torch.tensor([[CLS, 5 + text, SEP] for text, _ in pairs])
    target = shared_text_or_study(texts, torch.tensor([study for _, study in pairs]))
    assert torch.equal(target, target.T)
    for i, (text, study) in enumerate(pairs):
        for j, (other_text, other_study) in enumerate(pairs):
            assert target[i, j] == float(text == other_text or study == other_study)


def test_a_loss_without_information_does_not_depend_on_how_many_share_a_text() -> None:
    same = torch.ones(6, 1)
    target = shared_text_or_study(torch.tensor([[1]] * 4 + [[2], [3]]), torch.arange(6))
    assert contrastive_loss(same, same, UNIT_SCALE, target).item() == pytest.approx(math.log(6))


@pytest.mark.parametrize(("wild", "kept"), [(-3.0, 0.0), (9.0, MAX_LOG_SCALE), (1.0, 1.0)])
def test_the_logit_scale_stays_between_1_and_100(wild: float, kept: float) -> None:
    objective = GlobalContrastive(GlobalContrastiveSpec())
    assert objective.log_scale.exp().item() == pytest.approx(1 / 0.07)
    with torch.no_grad():
        objective.log_scale.fill_(wild)
    objective.after_step()
    assert objective.log_scale.item() == pytest.approx(kept)


@given(st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_reports_that_read_alike_cost_the_same_whether_partners_or_not(seed: int) -> None:
    # Equal embeddings share the chance equally, whichever of them is called the right one.
    image, report = unit(5, 3, seed), unit(5, 3, seed + 1)
    report[1] = report[0]
    target = shared_text_or_study(torch.tensor([[1], [1], [2], [3], [4]]), torch.arange(5))
    partners = contrastive_loss(image, report, UNIT_SCALE, target)
    assert torch.allclose(partners, contrastive_loss(image, report, UNIT_SCALE, torch.eye(5)), atol=1e-5)


def test_the_spec_says_whether_images_of_one_study_are_partners(project: Project, batch: Batch) -> None:
    one_study = replace(batch, study=torch.zeros_like(batch.study))
    losses = {}
    for targets, positives in (("identity", []), ("same_text", ["same_text", "same_study"])):
        spec = tiny_spec(objectives={"global_contrastive": {"targets": {"positives": positives}}})
        model = build_model(spec, project.tokenizer.vocabulary_size)
        losses[targets] = [
            model.losses(shown)["global_contrastive"].mean.item() for shown in (batch, one_study)
        ]
    assert losses["identity"][0] == losses["identity"][1]
    assert losses["same_text"][0] != pytest.approx(losses["same_text"][1], abs=1e-4)


@pytest.mark.parametrize("missing", [{"images": [0, 3]}, {"texts": [0, 3]}, {"images": [0], "texts": [3]}])
def test_contrast_is_among_the_pairs_alone(
    model: VLPModel, batch: Batch, missing: dict[str, list[int]]
) -> None:
    found = model.losses(without(batch, **missing))["global_contrastive"]
    assert found.rows == len(batch) - 2
    paired = torch.tensor([row for row in range(len(batch)) if row not in (0, 3)])
    with torch.no_grad():
        alone = contrastive_loss(
            model.embed_images(batch.images[paired]),
            model.embed_texts(batch.tokens[paired], batch.token_mask[paired]),
            model.objectives["global_contrastive"].log_scale,
            shared_text_or_study(batch.tokens[paired], batch.study[paired]),
        )
    assert found.mean.item() == pytest.approx(alone.item(), rel=1e-5)


def masked_views(x: Tensor) -> Views:
    return Views(
        image=None,
        image_embedding=None,
        text=None,
        text_embedding=None,
        image_masked=Tokens(x, torch.ones(x.shape[:2], dtype=torch.bool), x.mean(dim=1)),
        text_masked=None,
        vocabulary=torch.zeros(1, 1),
    )


def predictor_of_zeros(batch: Batch) -> float:
    """The masked-image loss of a decoder that always answers zero."""
    head = MaskedImageSpec(decoder_width=8, decoder_heads=2)
    objective = MaskedImage(head, tiny_spec().model, 8, 1, sees_hidden=False)
    torch.nn.init.zeros_(objective.pixels.weight)
    torch.nn.init.zeros_(objective.pixels.bias)
    assert batch.visible_patches is not None
    found = objective.loss(masked_views(torch.zeros(*batch.visible_patches.shape, 8)), batch)
    assert found is not None
    return found.mean.item()


def test_a_predictor_of_zeros_costs_one(batch: Batch) -> None:
    noise = replace(batch, images=torch.rand(batch.images.shape, generator=generator(0)))
    assert predictor_of_zeros(noise) == pytest.approx(1, abs=1e-3)


def test_flat_patches_cost_nothing_and_stay_finite(batch: Batch) -> None:
    assert predictor_of_zeros(replace(batch, images=torch.full_like(batch.images, 0.3))) == 0


@given(st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_patches_to_draw_have_mean_zero_and_variance_one(seed: int) -> None:
    truth = normalised_patches(torch.rand(2, 1, 16, 16, generator=generator(seed)), 4)
    assert truth.shape == (2, 16, 16)
    assert torch.allclose(truth.mean(dim=-1), torch.zeros(2, 16), atol=1e-4)
    assert torch.allclose(truth.var(dim=-1, correction=0), torch.ones(2, 16), atol=1e-3)


def test_only_hidden_patches_count(batch: Batch) -> None:
    # Make the patches of the first masked row flat but for one: the loss is there when that one is hidden.
    assert batch.visible_patches is not None
    side = 4
    images = torch.full((len(batch), 1, 16, 16), 0.5)
    images[:, :, :side, :side] = torch.rand(side, side, generator=generator(0))
    seen, hidden = torch.tensor([[0, 1, 2, 3]]), torch.tensor([[1, 2, 3, 4]])
    rows = len(batch.visible_patches)
    shown = replace(batch, images=images, visible_patches=seen.expand(rows, -1))
    covered = replace(batch, images=images, visible_patches=hidden.expand(rows, -1))
    assert patches(images, side).shape[1] == 16
    assert predictor_of_zeros(shown) == pytest.approx(0, abs=1e-6)
    assert predictor_of_zeros(covered) == pytest.approx(1 / 12, abs=1e-3)


def test_masked_image_skips_rows_without_an_image(model: VLPModel, batch: Batch) -> None:
    found = model.losses(without(batch, images=[0, 3]))["masked_image"]
    full = model.losses(batch)["masked_image"]
    assert (full.rows, found.rows) == (len(batch), len(batch) - 2)
    assert found.mean.isfinite()
    assert found.mean != full.mean


def test_masked_language_looks_at_the_image(model: VLPModel, batch: Batch) -> None:
    stir(model)
    model.losses(batch)["masked_language"].mean.backward()
    gradients = [weight.grad for weight in model.image.parameters()]
    assert all(gradient is not None and gradient.any() for gradient in gradients)
    assert all(weight.grad is None for weight in model.image_projection.parameters())


def test_a_report_without_an_image_is_guessed_from_its_words_alone(model: VLPModel, batch: Batch) -> None:
    stir(model)
    blind = without(batch, images=list(range(len(batch))))
    bright = replace(blind, images=torch.ones_like(blind.images))
    loss = model.losses(blind)["masked_language"]
    assert loss.rows == len(batch)
    assert model.losses(bright)["masked_language"].mean.item() == loss.mean.item()
    loss.mean.backward()
    assert not any(w.grad is not None and w.grad.any() for w in model.image.parameters())


def test_masked_language_skips_rows_without_a_report(model: VLPModel, batch: Batch) -> None:
    found = model.losses(without(batch, texts=[1, 2]))["masked_language"]
    assert found.rows == len(batch) - 2


def test_a_fresh_model_guesses_like_a_blind_one(model: VLPModel, batch: Batch, project: Project) -> None:
    guess = model.losses(batch)["masked_language"].mean.item()
    assert guess == pytest.approx(math.log(project.tokenizer.vocabulary_size), rel=0.05)


def test_an_image_only_batch_trains_the_image_tower_alone(model: VLPModel, batch: Batch) -> None:
    stir(model)
    losses = model.losses(without(batch, texts=list(range(len(batch)))))
    assert losses.keys() == {"masked_image"}
    model.total(losses).backward()
    assert not any(w.grad is not None and w.grad.any() for w in model.text.parameters())


def test_a_text_only_batch_trains_the_text_tower_alone(model: VLPModel, batch: Batch) -> None:
    stir(model)
    losses = model.losses(without(batch, images=list(range(len(batch)))))
    assert losses.keys() == {"masked_language"}
    model.total(losses).backward()
    assert all(w.grad is not None and w.grad.isfinite().all() for w in model.text.parameters())


def test_a_batch_of_nothing_has_no_loss(model: VLPModel, batch: Batch) -> None:
    everything = list(range(len(batch)))
    assert model.losses(without(batch, images=everything, texts=everything)) == {}


def test_one_pair_alone_has_nothing_to_be_told_from(model: VLPModel, batch: Batch) -> None:
    losses = model.losses(without(batch, texts=list(range(1, len(batch)))))
    assert "global_contrastive" not in losses
    assert losses["masked_language"].rows == 1


@pytest.mark.parametrize(
    ("objectives", "seen", "read"),
    [
        (("global_contrastive",), 1, 1),
        (("masked_image",), 1, 0),
        (("masked_language",), 1, 1),
        (("global_contrastive", "masked_language"), 1, 2),
        (("global_contrastive", "masked_image", "masked_language"), 2, 2),
    ],
)
def test_each_tower_runs_once_per_view(
    project: Project, batch: Batch, objectives: tuple[str, ...], seen: int, read: int
) -> None:
    heads = {"masked_image": {"decoder_width": 8, "decoder_heads": 2}}
    spec = tiny_spec(objectives={name: heads.get(name, {}) for name in objectives})
    model = build_model(spec, project.tokenizer.vocabulary_size)
    calls = {"image": 0, "text": 0}

    def count(name: str) -> None:
        calls[name] += 1

    model.image.register_forward_hook(lambda *_: count("image"))
    model.text.register_forward_hook(lambda *_: count("text"))
    assert model.losses(batch).keys() == set(objectives)
    assert calls == {"image": seen, "text": read}


def test_the_total_weighs_each_objective_as_the_spec_says(project: Project, batch: Batch) -> None:
    spec = tiny_spec(objectives__global_contrastive__weight=2.0, objectives__masked_language__weight=0.25)
    model = build_model(spec, project.tokenizer.vocabulary_size)
    losses = model.losses(batch)
    expected = (
        2 * losses["global_contrastive"].mean
        + losses["masked_image"].mean
        + losses["masked_language"].mean / 4
    )
    assert torch.allclose(model.total(losses), expected)


@pytest.mark.parametrize("encoder", ["vit", "resnet"])
def test_every_weight_learns_from_the_three_objectives_together(
    project: Project, corpus: Corpus, encoder: str
) -> None:
    spec = tiny_spec(model__image__encoder=encoder, data__anchor_pairs=0)
    model = build_model(spec, project.tokenizer.vocabulary_size)
    stir(model)
    model.total(model.losses(Batches(spec, project.tokenizer, corpus, None, "east").at(0))).backward()
    still = [name for name, w in model.named_parameters() if w.grad is None or not w.grad.any()]
    assert still == []


FINDINGS = torch.tensor([[1, 1, 0], [1, 1, 0], [1, 0, 1], [0, 0, 0]], dtype=torch.bool)


def overlap(findings: Tensor) -> Tensor:
    """Of findings that no report puts on a side."""
    said = Said(findings, torch.zeros_like(findings), torch.zeros(*findings.shape, 2, dtype=torch.bool))
    return entity_overlap(said, said)


def test_reports_share_as_much_as_both_state_of_what_either_states() -> None:
    alike = overlap(FINDINGS)
    expected = [[1, 1, 1 / 3, 0], [1, 1, 1 / 3, 0], [1 / 3, 1 / 3, 1, 0], [0, 0, 0, 0]]
    torch.testing.assert_close(alike, torch.tensor(expected))


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_mixed_targets_are_shares_of_one_and_unread_reports_keep_their_partner(share: float) -> None:
    mixed = mix_targets(torch.eye(4), overlap(FINDINGS), share)
    torch.testing.assert_close(mixed.sum(dim=1), torch.ones(4))
    assert mixed[0, 1].item() == pytest.approx(share * 3 / 7)
    assert mixed[3].tolist() == [0, 0, 0, 1]


def test_patients_with_the_same_findings_are_drawn_together_where_entities_are_the_targets() -> None:
    findings = torch.tensor([[1, 0], [1, 0], [0, 1], [0, 1]], dtype=torch.bool)
    image = unit(4, 8, 1).requires_grad_()
    target = mix_targets(torch.eye(4), overlap(findings), 0.5)
    contrastive_loss(image, unit(4, 8, 2), UNIT_SCALE, target).backward()
    pulled = -image.grad @ unit(4, 8, 2).T  # how far a step moves image i towards text j
    plain = image.detach().clone().requires_grad_()
    contrastive_loss(plain, unit(4, 8, 2), UNIT_SCALE, torch.eye(4)).backward()
    before = -plain.grad @ unit(4, 8, 2).T
    for i, j in ((0, 1), (1, 0), (2, 3), (3, 2)):
        assert pulled[i, j] > before[i, j]


def test_entity_targets_reach_the_loss_of_a_batch(project: Project, batch: Batch, model: VLPModel) -> None:
    spec = GlobalContrastiveSpec(targets=TargetsSpec(alike="entity_overlap", alike_share=0.9))
    objective = GlobalContrastive(spec)
    views = model.views(batch)
    silent = torch.zeros(len(batch), 3, dtype=torch.bool)
    stated = silent.clone()
    stated[:, 0] = True
    read = replace(batch, denied=silent, sides=torch.zeros(*silent.shape, 2, dtype=torch.bool))
    unread = objective.loss(views, replace(read, findings=silent))
    alike = objective.loss(views, replace(read, findings=stated))
    assert unread is not None
    assert alike is not None
    assert unread.mean.item() != pytest.approx(alike.mean.item(), abs=1e-4)
