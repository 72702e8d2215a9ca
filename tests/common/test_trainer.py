import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from tiny import tiny_spec
from torch import Tensor

from common.data.batch import Batch
from common.data.batches import Batches, fixed_batches
from common.data.corpus import Corpus
from common.errors import ConfigurationError
from common.model.vlp import VLPModel
from common.project import Project, weights_of
from common.spec.run import Spec
from common.training.losses import LossSums
from common.training.optimizer import AdamW, build_optimizer, learning_rate_at, ramp_at
from common.training.trainer import TrainingRecord, train, validate
from common.update import digest_weights


@pytest.fixture
def batches(project: Project, corpus: Corpus, anchors: Corpus) -> Batches:
    return Batches(project.spec, project.tokenizer, corpus, anchors, "east")


def steps(
    model: VLPModel, batches: Batches, first: int, count: int, *, spec: Spec | None = None
) -> TrainingRecord:
    spec = spec or batches.spec
    return train(model, replace(batches, spec=spec), spec, first_step=first, steps=count, total_steps=6)


def bits(model: VLPModel) -> str:
    return digest_weights(weights_of(model))


def test_training_lowers_every_loss(project: Project, batches: Batches) -> None:
    spec = tiny_spec(train__learning_rate=2e-2, data__augment=False)
    model = project.fresh_model()
    before = validate(model, fixed_batches(spec, project.tokenizer, batches.private, purpose="x"), spec)
    train(model, replace(batches, spec=spec), spec, first_step=0, steps=25, total_steps=25)
    after = validate(model, fixed_batches(spec, project.tokenizer, batches.private, purpose="x"), spec)
    for name, loss in after.means().items():
        assert loss < 0.97 * before.means()[name], name


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_same_seed_gives_the_same_bits(project: Project, batches: Batches, precision: str) -> None:
    spec = tiny_spec(train__precision=precision)
    ends = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        model = project.fresh_model()
        record = steps(model, batches, 0, 3, spec=spec)
        ends.append((bits(model), record.losses))
    assert ends[0] == ends[1]


def test_two_halves_do_not_depend_on_what_ran_between_them(project: Project, batches: Batches) -> None:
    ends = []
    for interrupted in (False, True):
        model = project.fresh_model()
        steps(model, batches, 0, 3)
        if interrupted:
            kept = {name: tensor.clone() for name, tensor in model.state_dict().items()}
            steps(project.fresh_model(), replace(batches, site="west"), 4, 1)
            model = project.fresh_model()
            model.load_state_dict(kept)
        steps(model, batches, 3, 3)
        ends.append(bits(model))
    assert ends[0] == ends[1]


def test_the_number_of_the_step_decides_what_is_seen(project: Project, batches: Batches) -> None:
    asked: list[int] = []

    class Asked(Batches):
        """Batches that remember which were asked for."""

        def at(self, step: int) -> Batch:
            asked.append(step)
            return super().at(step)

    noting = Asked(batches.spec, batches.tokenizer, batches.private, batches.anchors, batches.site)
    train(project.fresh_model(), noting, batches.spec, first_step=2, steps=3, total_steps=6)
    assert asked == [2, 3, 4]


def test_the_record_counts_private_rows_and_steps(project: Project, batches: Batches) -> None:
    seen: list[int] = []
    record = train(
        project.fresh_model(),
        batches,
        batches.spec,
        first_step=2,
        steps=3,
        total_steps=6,
        on_step=seen.append,
    )
    assert seen == [2, 3, 4]
    assert (record.steps, record.examples) == (3, 12)
    assert record.losses.rows == {"global_contrastive": 18, "masked_image": 18, "masked_language": 18}
    assert record.seconds > 0


def poisoned(spoil: Callable[[Batch], Batch], after: int) -> type[Batches]:
    class Poisoned(Batches):
        """Batches of which the one at step `after` is spoilt."""

        def at(self, step: int) -> Batch:
            batch = super().at(step)
            return spoil(batch) if step == after else batch

    return Poisoned


def test_a_loss_that_is_not_finite_stops_with_the_last_finite_weights(
    project: Project, batches: Batches
) -> None:
    spoilt = poisoned(lambda batch: replace(batch, images=batch.images * math.nan), after=2)
    bad = spoilt(batches.spec, batches.tokenizer, batches.private, batches.anchors, batches.site)
    reference, model = project.fresh_model(), project.fresh_model()
    with pytest.raises(ConfigurationError, match=r"lower train\.learning_rate") as caught:
        steps(model, bad, 0, 3)
    train(reference, batches, batches.spec, first_step=0, steps=2, total_steps=6)
    assert bits(model) == bits(reference)
    assert caught.value.outward.startswith("training stopped at step 2: the loss of ")
    assert "masked_image" in caught.value.outward
    assert "\n" not in str(caught.value)


def test_a_gradient_that_is_not_finite_stops_too(project: Project, batches: Batches) -> None:
    model = project.fresh_model()
    before = bits(model)
    model.objectives["masked_language"].bias.register_hook(lambda gradient: gradient * math.inf)
    with pytest.raises(ConfigurationError, match="step 0: a gradient of masked_language is not finite"):
        steps(model, batches, 0, 1)
    assert bits(model) == before


def test_a_batch_that_nothing_can_be_learned_from_changes_nothing(project: Project, batches: Batches) -> None:
    def emptied(batch: Batch) -> Batch:
        nothing = torch.zeros_like(batch.has_image)
        return replace(batch, has_image=nothing, has_text=nothing)

    bad = poisoned(emptied, after=0)(
        batches.spec, batches.tokenizer, batches.private, batches.anchors, batches.site
    )
    model = project.fresh_model()
    before = bits(model)
    assert steps(model, bad, 0, 1).losses == LossSums(skipped=1)
    assert bits(model) == before


def rates(total: int, **changes: float) -> list[float]:
    spec = tiny_spec(train__learning_rate=2.0, **{f"train__{key}": value for key, value in changes.items()})
    return [learning_rate_at(step, total, spec.train) for step in range(total)]


def test_the_learning_rate_rises_in_a_line_and_falls_along_a_cosine() -> None:
    rate = rates(100, warmup_share=0.1, final_learning_rate_share=0.25)
    assert rate[0] == pytest.approx(0.2)
    assert rate[9] == pytest.approx(2.0)
    assert rate[10] == pytest.approx(2.0)
    assert rate[10 + 89 // 2] == pytest.approx((2.0 + 0.5) / 2, rel=0.02)
    assert rate[99] == pytest.approx(0.5)
    assert rate[:10] == sorted(rate[:10])
    assert rate[10:] == sorted(rate[10:], reverse=True)


@pytest.mark.parametrize("total", [1, 2, 3])
def test_the_shortest_runs_have_a_rate_for_every_step(total: int) -> None:
    rate = rates(total, warmup_share=0.0, final_learning_rate_share=0.0)
    assert rate[0] == 2.0
    assert all(0 <= value <= 2.0 for value in rate)


@pytest.mark.parametrize("warmup", [0, 1, 5])
def test_a_fresh_optimiser_reaches_its_rate_after_the_warm_up(warmup: int) -> None:
    spec = tiny_spec(train__round_warmup_steps=warmup).train
    ramp = [ramp_at(taken, spec) for taken in range(warmup + 3)]
    assert ramp[:warmup] == pytest.approx([(taken + 1) / (warmup + 1) for taken in range(warmup)])
    assert ramp[warmup:] == [1.0, 1.0, 1.0]


def test_the_ramp_begins_with_the_round_not_with_the_run(project: Project, batches: Batches) -> None:
    moved = []
    for warmup in (0, 9):
        model = project.fresh_model()
        before = torch.cat([weight.detach().flatten().clone() for weight in model.parameters()])
        spec = tiny_spec(train__round_warmup_steps=warmup, train__warmup_share=0.0)
        steps(model, batches, 3, 1, spec=spec)
        after = torch.cat([weight.detach().flatten() for weight in model.parameters()])
        moved.append((after - before).norm().item())
    assert moved[1] == pytest.approx(moved[0] / 10, rel=0.05)


def test_a_step_beyond_the_end_keeps_the_last_rate() -> None:
    spec = tiny_spec(train__final_learning_rate_share=0.5)
    assert learning_rate_at(200, 100, spec.train) == pytest.approx(learning_rate_at(99, 100, spec.train))


def test_matrices_decay_and_vectors_norms_and_scales_do_not(project: Project) -> None:
    model = project.fresh_model()
    optimizer = build_optimizer(model, tiny_spec(train__weight_decay=0.5, train__learning_rate=0.1).train)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    optimizer.step()
    for name, weight in model.named_parameters():
        factor = 1 - 0.1 * 0.5 if weight.ndim >= 2 else 1.0
        assert torch.allclose(weight, factor * before[name], atol=1e-7), name


@pytest.fixture
def gradients(
    project: Project, batches: Batches, monkeypatch: pytest.MonkeyPatch
) -> Callable[[float], list[torch.Tensor]]:
    """What the optimiser is given in one step under a bound on the norm."""

    def found(bound: float) -> list[torch.Tensor]:
        given: list[torch.Tensor] = []

        def remember(self: torch.optim.Optimizer) -> None:
            weights = [weight for group in self.param_groups for weight in group["params"]]
            given.extend(weight.grad.clone() for weight in weights if weight.grad is not None)

        monkeypatch.setattr(AdamW, "step", remember)
        steps(project.fresh_model(), batches, 0, 1, spec=tiny_spec(train__gradient_norm=bound))
        return given

    return found


def norm_of(gradients: list[torch.Tensor]) -> float:
    return torch.stack([gradient.square().sum() for gradient in gradients]).sum().sqrt().item()


def test_the_gradient_is_clipped_to_its_norm(gradients: Callable[[float], list[torch.Tensor]]) -> None:
    assert norm_of(gradients(1e-3)) == pytest.approx(1e-3, rel=1e-2)


@pytest.mark.parametrize("share", [0.5, 0.998, 0.9999, 1.0, 1.0001, 2.0])
def test_clipping_is_torchs_above_the_bound_at_it_and_below(
    gradients: Callable[[float], list[torch.Tensor]], share: float
) -> None:
    whole = gradients(1e9)
    bound = share * norm_of(whole)
    expected = [torch.nn.Parameter(torch.zeros_like(gradient)) for gradient in whole]
    for weight, gradient in zip(expected, whole, strict=True):
        weight.grad = gradient.clone()
    torch.nn.utils.clip_grad_norm_(expected, bound)
    for weight, gradient in zip(expected, gradients(bound), strict=True):
        assert weight.grad is not None
        assert torch.allclose(weight.grad, gradient, rtol=1e-6, atol=0)


def test_validation_leaves_the_model_as_it_is_and_repeats(project: Project, batches: Batches) -> None:
    model = project.fresh_model()
    before = bits(model)
    parts = fixed_batches(project.spec, project.tokenizer, batches.private, purpose="validation")
    first = validate(model, parts, project.spec)
    assert first == validate(model, parts, project.spec)
    assert bits(model) == before
    assert all(weight.grad is None for weight in model.parameters())
    assert first.rows == {"global_contrastive": 12, "masked_image": 12, "masked_language": 12}


def test_sums_of_losses_give_the_mean_per_row() -> None:
    sums = LossSums()
    sums.add("a", 1.0, 3)
    sums.add("a", 5.0, 1)
    sums.add("b", 2.0, 0)
    assert sums.means() == {"a": 2.0}


def test_threads_are_those_of_the_spec(project: Project, batches: Batches) -> None:
    torch.set_num_threads(2)
    steps(project.fresh_model(), batches, 0, 1)
    assert torch.get_num_threads() == 1


def test_the_mean_of_a_batch_is_what_is_recorded(project: Project, batches: Batches) -> None:
    found = {name: loss.mean for name, loss in project.fresh_model().losses(batches.at(0)).items()}
    record = steps(project.fresh_model(), batches, 0, 1)
    means: dict[str, Tensor | float] = {**record.losses.means()}
    for name, mean in found.items():
        assert means[name] == pytest.approx(mean.item(), rel=1e-6)
