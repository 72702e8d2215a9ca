"""However a gradient is found, it is that of the whole batch: in float64, for every parameter."""

import itertools
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import stir, tiny_spec
from torch import Tensor
from torch.overrides import TorchFunctionMode

from common.data.batch import Batch
from common.data.batches import Batches
from common.data.corpus import Corpus
from common.model.encoders import Tokens
from common.model.vlp import VLPModel, build_model
from common.objectives.base import Loss
from common.project import Project
from common.spec.run import Spec
from common.training.gradient import Plan, backpropagate
from common.training.towers import hastened, least_padding

OBJECTIVES = ("global_contrastive", "masked_image", "masked_language")
"""One that couples rows and two that do not; all others are checked in `test_taxonomy`."""
COMBINATIONS = [
    chosen
    for number in range(1, len(OBJECTIVES) + 1)
    for chosen in itertools.combinations(OBJECTIVES, number)
]
ROWS = 7


class KeepFloat64(TorchFunctionMode):
    """`float()` on float64 changes nothing, so that a loss is checked to its last digits."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is Tensor.float and args[0].dtype == torch.float64:
            return args[0]
        return function(*args, **(kwargs or {}))


def in_float64(batch: Batch) -> Batch:
    return replace(batch, images=batch.images.double())


def spec_with(names: tuple[str, ...], **changes: Any) -> Spec:
    """Only the named objectives, on batches of `ROWS` whose masks do not cover every row."""
    some: dict[str, Any] = {
        "global_contrastive": {},
        "masked_image": {"decoder_width": 8, "decoder_heads": 2, "row_share": 0.6},
        "masked_language": {"row_share": 0.6},
    }
    chosen = {name: some.get(name, {}) for name in names}
    return tiny_spec(objectives=chosen, data__batch_size=ROWS, data__anchor_pairs=2, **changes)


def model_of(spec: Spec, pieces: int) -> VLPModel:
    model = build_model(spec, pieces).double()
    stir(model)
    return model


@pytest.fixture
def batches(project: Project, corpus: Corpus, anchors: Corpus) -> Batches:
    """Rows without an image and without a report among them."""
    bare = replace(corpus, place=corpus.place.copy(), sentences=((), *corpus.sentences[1:]))
    bare.place[3] = -1
    return Batches(project.spec, project.tokenizer, bare, anchors, "east")


def gradients(
    model: VLPModel, batch: Batch, chunk_rows: int | None, *, share: float = 1.0
) -> tuple[dict[str, Tensor | None], dict[str, Loss]]:
    model.zero_grad(set_to_none=True)
    with KeepFloat64():
        found = backpropagate(model, batch, Plan(nullcontext, chunk_rows), seed=1, share=share)
    return {name: weight.grad for name, weight in model.named_parameters()}, found


def require_equal(found: dict[str, Tensor | None], wanted: dict[str, Tensor | None]) -> None:
    for name, gradient in wanted.items():
        mine = found[name]
        assert (mine is None) is (gradient is None), name
        if mine is not None and gradient is not None:
            torch.testing.assert_close(
                mine, gradient, rtol=1e-9, atol=1e-13, msg=lambda m, n=name: f"{n}: {m}"
            )


@pytest.mark.parametrize("names", COMBINATIONS, ids="+".join)
@pytest.mark.parametrize("chunk_rows", [1, 3])
def test_chunks_give_every_parameter_the_gradient_of_the_whole_batch(
    batches: Batches, names: tuple[str, ...], chunk_rows: int
) -> None:
    spec = spec_with(names)
    batch = in_float64(replace(batches, spec=spec).at(0))
    model = model_of(spec, batches.tokenizer.vocabulary_size)
    whole, losses = gradients(model, batch, None)
    cached, same = gradients(model, batch, chunk_rows)
    require_equal(cached, whole)
    assert set(losses) == set(same) == set(names)
    for name, loss in losses.items():
        assert same[name].mean.item() == pytest.approx(loss.mean.item(), rel=1e-12)
        assert same[name].rows == loss.rows


def test_the_temperature_gets_its_gradient_once(batches: Batches) -> None:
    spec = spec_with(("global_contrastive",))
    batch = in_float64(replace(batches, spec=spec).at(0))
    model = model_of(spec, batches.tokenizer.vocabulary_size)
    name = "objectives.global_contrastive.log_scale"
    whole, cached = gradients(model, batch, None)[0][name], gradients(model, batch, 2)[0][name]
    assert whole is not None
    assert cached is not None
    assert whole.abs().item() > 1e-3
    assert cached.item() == pytest.approx(whole.item(), rel=1e-12)


def test_the_gradient_is_what_finite_differences_say(batches: Batches) -> None:
    spec = spec_with(OBJECTIVES)
    batch = in_float64(replace(batches, spec=spec).at(0))
    model = model_of(spec, batches.tokenizer.vocabulary_size)
    found, _ = gradients(model, batch, 3)
    chance = torch.Generator().manual_seed(2)
    slope = 0.0
    moves = {n: torch.randn(w.shape, generator=chance, dtype=w.dtype) for n, w in model.named_parameters()}
    for name, move in moves.items():
        gradient = found[name]
        slope += 0.0 if gradient is None else float((gradient * move).sum())
    totals = []
    for step in (1e-5, -2e-5):
        with torch.no_grad(), KeepFloat64():
            for name, weight in model.named_parameters():
                weight += step * moves[name]
            totals.append(model.total(model.losses(batch)).item())
    assert (totals[0] - totals[1]) / 2e-5 == pytest.approx(slope, rel=1e-5)


def test_towers_that_drop_at_random_drop_the_same_in_both_passes(batches: Batches) -> None:
    spec = spec_with(OBJECTIVES)
    batch = in_float64(replace(batches, spec=spec).at(0))
    model = model_of(spec, batches.tokenizer.vocabulary_size)
    for tower in (model.image, model.text):
        tower.norm.register_forward_hook(lambda module, inputs, out: torch.nn.functional.dropout(out, 0.3))
    seen: list[Tensor] = []
    model.image.norm.register_forward_hook(lambda module, inputs, out: seen.append(out.detach()))
    gradients(model, batch, 4)
    first, second = seen[:2], seen[2::2]  # between the second ones lie the views of masked images
    assert (first[0] == 0).any()
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


def test_each_view_is_encoded_once_and_with_chunks_once_more_where_rows_couple(batches: Batches) -> None:
    spec = spec_with(OBJECTIVES)
    batch = in_float64(replace(batches, spec=spec).at(0))
    model = model_of(spec, batches.tokenizer.vocabulary_size)
    calls = {"image": 0, "text": 0}
    for name in calls:
        tower = model.get_submodule(name)
        tower.register_forward_hook(lambda m, i, o, n=name: calls.update({n: calls[n] + 1}))
    gradients(model, batch, None)
    assert calls == {"image": 2, "text": 2}
    calls.update(image=0, text=0)
    gradients(model, batch, 4)
    assert calls == {"image": 2 * 3, "text": 2 * 3}


def test_shares_of_batches_add_up_to_their_mean(batches: Batches) -> None:
    spec = spec_with(OBJECTIVES)
    model = model_of(spec, batches.tokenizer.vocabulary_size)
    parts = [in_float64(replace(batches, spec=spec).at(step)) for step in range(3)]
    each = [gradients(model, part, None)[0] for part in parts]
    model.zero_grad(set_to_none=True)
    with KeepFloat64():
        for part in parts:
            backpropagate(model, part, Plan(nullcontext, 4), seed=1, share=1 / 3)
    for name, weight in model.named_parameters():
        mean = torch.stack([one[name] for one in each]).mean(dim=0)
        assert weight.grad is not None
        torch.testing.assert_close(weight.grad, mean, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("encoder", ["vit", "resnet"])
@pytest.mark.parametrize("chunk_rows", [None, 3])
def test_recomputed_layers_give_the_same_gradient(
    batches: Batches, encoder: str, chunk_rows: int | None
) -> None:
    spec = spec_with(
        OBJECTIVES,
        train__gradient_checkpointing=True,
        model__image__encoder=encoder,
        model__image__depth=2,
        model__text__depth=3,
    )
    batch = in_float64(replace(batches, spec=spec).at(0))
    model = model_of(spec, batches.tokenizer.vocabulary_size)
    plain, _ = gradients(model, batch, None)
    calls = []
    layer = model.text.blocks[0]
    layer.mlp.register_forward_pre_hook(lambda m, i: calls.append(m))
    with hastened(model, spec.train):
        again, _ = gradients(model, batch, chunk_rows)
    require_equal(again, plain)
    assert len(calls) >= 4, "recomputed in the backward pass"
    assert "forward" not in vars(layer)


@pytest.mark.parametrize("buckets", [2, 40])
@pytest.mark.parametrize("chunk_rows", [None, 3])
def test_buckets_leave_losses_and_gradients_as_they_are(
    batches: Batches, buckets: int, chunk_rows: int | None
) -> None:
    spec = spec_with(OBJECTIVES, train__text_buckets=buckets)
    batch = in_float64(replace(batches, spec=spec).at(0))
    model = model_of(spec, batches.tokenizer.vocabulary_size)
    plain, losses = gradients(model, batch, None)
    with hastened(model, spec.train):
        bucketed, same = gradients(model, batch, chunk_rows)
    require_equal(bucketed, plain)
    for name, loss in losses.items():
        assert same[name].mean.item() == pytest.approx(loss.mean.item(), rel=1e-12)


def test_a_bucket_reads_no_further_than_its_longest_report(batches: Batches) -> None:
    spec = spec_with(("global_contrastive",), train__text_buckets=2)
    batch = batches.at(0)
    model = build_model(spec, batches.tokenizer.vocabulary_size)
    widths: list[int] = []
    model.text.enter_norm.register_forward_hook(lambda m, i, o: widths.append(o.shape[1]))
    with hastened(model, spec.train):
        read = model.text(batch.tokens, batch.token_mask)
    assert isinstance(read, Tokens)
    lengths = sorted(batch.token_mask.sum(dim=1).tolist())
    assert widths[-1] == lengths[-1]
    places = [
        (cut * lengths[cut - 1] + (len(lengths) - cut) * lengths[-1], lengths[cut - 1])
        for cut in range(1, len(lengths))
    ]
    assert min(places) == (min(places)[0], widths[0])
    assert read.x.shape[:2] == batch.tokens.shape


@given(
    lengths=st.lists(st.integers(2, 12), min_size=1, max_size=9),
    buckets=st.integers(1, 5),
)
def test_no_other_grouping_pads_less(lengths: list[int], buckets: int) -> None:
    def places(sizes: tuple[int, ...] | list[int]) -> int:
        ends = list(itertools.accumulate(sizes))
        return sum(size * ordered[end - 1] for size, end in zip(sizes, ends, strict=True))

    ordered = sorted(lengths)
    found = least_padding(lengths, buckets)
    assert sum(found) == len(lengths)
    assert min(found) > 0
    assert len(found) <= buckets
    every = (
        tuple(stop - start for start, stop in itertools.pairwise((0, *cuts, len(lengths))))
        for more in range(min(buckets, len(lengths)))
        for cuts in itertools.combinations(range(1, len(lengths)), more)
    )
    assert places(found) == min(map(places, every))


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_parts_of_a_batch_hold_its_rows_once_each(data: st.DataObject) -> None:
    rows = data.draw(st.integers(1, 9))
    listed = torch.tensor(sorted(data.draw(st.sets(st.integers(0, rows - 1)))), dtype=torch.int64)
    batch = Batch(
        images=torch.arange(rows).view(-1, 1, 1, 1).float(),
        has_image=torch.ones(rows, dtype=torch.bool),
        tokens=torch.arange(rows)[:, None],
        token_mask=torch.ones(rows, 1, dtype=torch.bool),
        has_text=torch.ones(rows, dtype=torch.bool),
        study=torch.arange(rows),
        masked_images=listed,
        visible_patches=listed[:, None] * 10,
    )
    cuts = sorted({0, rows, *data.draw(st.lists(st.integers(0, rows), max_size=3))})
    parts = [batch.part(start, stop) for start, stop in itertools.pairwise(cuts)]
    assert torch.cat([part.study for part in parts]).tolist() == list(range(rows))
    seen: list[int] = []
    for start, part in zip(cuts, parts, strict=False):
        assert part.masked_images is not None
        assert part.visible_patches is not None
        assert part.masked_reports is None
        assert torch.equal(
            part.images[part.masked_images].flatten() * 10, part.visible_patches.flatten().float()
        )
        seen += (part.masked_images + start).tolist()
    assert seen == listed.tolist()
