"""The keys of `[train]` do what they say: mean weights, layers' rates, patches, resuming, peers, devices."""

import math
import multiprocessing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from privacy_samples import private_spec
from tiny import stir, tiny_spec
from torch import nn

from common.data.batch import Batch
from common.data.batches import Batches
from common.data.corpus import Corpus
from common.errors import ConfigurationError, IntegrityError
from common.model.vlp import VLPModel, build_model
from common.project import Project, weights_of
from common.spec.run import Spec
from common.training import device, towers
from common.training.device import multiplies_bfloat16, pick_device, precision_of
from common.training.optimizer import MeanWeights, build_optimizer, rate_shares, set_learning_rate
from common.training.towers import Heights, layers_of
from common.training.trainer import TrainingRecord, train
from common.update import digest_weights

CPU = torch.device("cpu")


@pytest.fixture
def batches(project: Project, corpus: Corpus, anchors: Corpus) -> Batches:
    return Batches(project.spec, project.tokenizer, corpus, anchors, "east")


def end_of(
    batches: Batches, spec: Spec, *, steps: int = 3, model: VLPModel | None = None, **options: Any
) -> tuple[str, VLPModel, TrainingRecord]:
    model = model or build_model(spec, batches.tokenizer.vocabulary_size)
    own = replace(batches, spec=spec)
    record = train(model, own, spec, first_step=0, steps=steps, total_steps=steps, **options)
    return digest_weights(weights_of(model)), model, record


def require_close(one: VLPModel, other: VLPModel, tolerance: float) -> None:
    for (name, mine), theirs in zip(one.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}")


def test_mean_weights_have_their_closed_form() -> None:
    model = nn.Linear(3, 2)
    seen = [model.weight.detach().clone()]
    mean = MeanWeights(model, 0.8)
    for step in range(5):
        with torch.no_grad():
            model.weight += step + 1
        seen.append(model.weight.detach().clone())
        mean.add(model)
    wanted = 0.8**5 * seen[0] + 0.2 * sum(0.8 ** (5 - step) * seen[step] for step in range(1, 6))
    mean.put_into(model)
    torch.testing.assert_close(model.weight.detach(), wanted)


def test_a_round_with_a_mean_ends_in_the_mean_of_its_steps(batches: Batches) -> None:
    spec = tiny_spec(train__ema_decay=0.5)
    start = weights_of(build_model(spec, batches.tokenizer.vocabulary_size))
    _, averaged, _ = end_of(batches, spec, steps=2)
    ends = []
    for steps in (1, 2):
        plain = build_model(tiny_spec(), batches.tokenizer.vocabulary_size)
        train(plain, batches, tiny_spec(), first_step=0, steps=steps, total_steps=2)
        ends.append(weights_of(plain))
    for name, value in weights_of(averaged).items():
        wanted = 0.25 * start[name] + 0.25 * ends[0][name] + 0.5 * ends[1][name]
        assert value == pytest.approx(wanted, abs=1e-6), name


@pytest.mark.parametrize(
    ("name", "layers_above"),
    [
        ("image.patch.weight", 3),
        ("image.blocks.0.qkv.weight", 2),
        ("image.blocks.2.mlp.0.bias", 0),
        ("image.norm.weight", 0),
        ("text.positions", 2),
        ("text.neighbours.weight", 2),
        ("text.blocks.0.out.weight", 1),
        ("text_projection.weight", 0),
        ("objectives.global_contrastive.log_scale", 0),
    ],
)
def test_a_layer_learns_more_slowly_the_further_it_is_from_the_output(name: str, layers_above: int) -> None:
    spec = tiny_spec(model__image__depth=3, model__text__depth=2, train__layer_decay=0.5)
    model = build_model(spec, 512)
    assert rate_shares(model, [name], spec.train)[name] == 0.5**layers_above
    optimizer = build_optimizer(model, spec.train)
    set_learning_rate(optimizer, 0.1)
    weight = model.get_parameter(name)
    (group,) = [one for one in optimizer.param_groups if any(w is weight for w in one["params"])]
    assert group["lr"] == pytest.approx(0.1 * 0.5**layers_above)
    assert group["weight_decay"] == (spec.train.weight_decay if weight.ndim >= 2 else 0)


def test_the_pooling_of_a_resnet_is_at_its_output_and_its_stem_at_its_input() -> None:
    spec = tiny_spec(model__image__encoder="resnet", train__layer_decay=0.5)
    model = build_model(spec, 512)
    assert len(layers_of(model.image)[1]) == 4
    heights = Heights(model)
    above = {n: heights.above(f"image.{n}.weight") for n in ("stem", "pool", "stages.3.conv1")}
    assert above == {"stem": 4, "pool": 0, "stages.3.conv1": 0}


def test_every_parameter_is_in_one_group(batches: Batches) -> None:
    model = build_model(tiny_spec(), 512)
    groups = build_optimizer(model, tiny_spec(train__layer_decay=0.7).train).param_groups
    held = [id(weight) for group in groups for weight in group["params"]]
    assert sorted(held) == sorted(map(id, model.parameters()))


def seen_patches(batches: Batches, spec: Spec, steps: int) -> list[torch.Tensor | None]:
    model = build_model(spec, batches.tokenizer.vocabulary_size)
    seen: list[torch.Tensor | None] = []
    views = model.views

    def note(batch: Batch, *others: Any) -> Any:
        seen.append(batch.kept_patches)
        return views(batch, *others)

    model.__dict__["views"] = note
    end_of(batches, spec, steps=steps, model=model)
    return seen


def test_dropped_patches_are_of_the_share_and_new_in_each_step_and_fair(batches: Batches) -> None:
    spec = tiny_spec(
        train__patch_dropout=0.75, train__whole_images_share=0.0, objectives={"global_contrastive": {}}
    )
    seen = seen_patches(batches, spec, 40)
    counts = torch.zeros(16)
    for kept in seen:
        assert kept is not None
        assert kept.shape == (6, 4)
        assert (kept.diff(dim=1) > 0).all(), "ascending, so none twice"
        counts += kept.flatten().bincount(minlength=16)
    assert not torch.equal(seen[0], seen[1])  # type: ignore[arg-type]
    drawn, chance = 40 * 6, 0.25
    spread = math.sqrt(drawn * chance * (1 - chance))
    assert ((counts - drawn * chance).abs() < 4.5 * spread).all()
    assert all(torch.equal(a, b) for a, b in zip(seen, seen_patches(batches, spec, 40), strict=True))  # type: ignore[arg-type]


def test_the_last_steps_see_whole_images(batches: Batches) -> None:
    spec = tiny_spec(train__patch_dropout=0.5, train__whole_images_share=0.25)
    assert [kept is None for kept in seen_patches(batches, spec, 8)] == [False] * 6 + [True] * 2


def test_patch_dropout_of_a_resnet_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"train\.patch_dropout needs model\.image\.encoder = 'vit'"):
        tiny_spec(model__image__encoder="resnet", train__patch_dropout=0.5)


def test_accumulated_batches_make_one_step_and_are_counted(batches: Batches) -> None:
    asked: list[int] = []

    class Asked(Batches):
        """Batches that remember which were asked for."""

        def at(self, step: int) -> Batch:
            asked.append(step)
            return super().at(step)

    spec = tiny_spec(train__accumulate_batches=3)
    noting = Asked(spec, batches.tokenizer, batches.private, batches.anchors, batches.site)
    _, _, record = end_of(noting, spec, steps=2)
    assert asked == list(range(6))
    assert (record.steps, record.examples) == (2, 2 * 3 * 4)
    assert record.losses.rows["global_contrastive"] == 2 * 3 * 6


@pytest.mark.parametrize("changes", [{}, {"train__ema_decay": 0.9, "train__precision": "bf16"}])
def test_a_killed_round_goes_on_to_the_same_bits(
    batches: Batches, tmp_path: Path, changes: dict[str, Any]
) -> None:
    spec = tiny_spec(train__save_every_steps=2, **changes)
    whole, _, record = end_of(batches, spec, steps=7)

    def kill(step: int) -> None:
        if step == 4:
            raise KeyboardInterrupt

    state = tmp_path / "state" / "round.safetensors"
    with pytest.raises(KeyboardInterrupt):
        end_of(batches, spec, steps=7, state=state, on_step=kill)
    steps: list[int] = []
    resumed, _, again = end_of(batches, spec, steps=7, state=state, on_step=steps.append)
    assert steps == [4, 5, 6], "step 4 was taken after the state was last written"
    assert resumed == whole
    assert again.losses == record.losses
    assert state.stat().st_mode & 0o077 == 0
    assert end_of(batches, spec, steps=7, state=state, on_step=steps.append)[0] == whole
    assert steps == [4, 5, 6], "a finished round is not trained again"


def test_the_state_of_another_round_is_not_gone_on_from(batches: Batches, tmp_path: Path) -> None:
    spec, state = tiny_spec(train__save_every_steps=1), tmp_path / "round"
    end_of(batches, spec, steps=2, state=state)
    other = build_model(spec, batches.tokenizer.vocabulary_size)
    stir(other)
    steps: list[int] = []
    end_of(batches, spec, steps=2, model=other, state=state, on_step=steps.append)
    assert steps == [0, 1]


def test_a_damaged_state_is_refused_in_one_line(batches: Batches, tmp_path: Path) -> None:
    spec, state = tiny_spec(train__save_every_steps=1), tmp_path / "round"
    end_of(batches, spec, steps=1, state=state)
    state.write_bytes(state.read_bytes()[:200])
    with pytest.raises(IntegrityError, match="is damaged; delete it"):
        end_of(batches, spec, steps=1, state=state)


@pytest.mark.parametrize("asked", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_named_with_those_that_are(
    monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigurationError, match=f"train.device = '{asked}', but this machine offers cpu;"):
        pick_device(tiny_spec(train__device=asked).train)
    assert pick_device(tiny_spec().train) == CPU


def test_a_gpu_is_taken_where_there_is_one_and_each_process_has_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device(tiny_spec().train) == torch.device("cuda", 0)
    assert pick_device(tiny_spec(train__processes=2).train, rank=1) == torch.device("cuda", 1)
    assert pick_device(tiny_spec(train__device="cpu").train) == CPU
    with pytest.raises(ConfigurationError, match=r"train\.processes = 3, but this machine has 2 GPUs"):
        pick_device(tiny_spec(train__processes=3).train)


@pytest.mark.parametrize(
    ("flags", "native"), [("fpu avx512_bf16 sse", True), ("fpu avx512f", False), ("", False)]
)
def test_auto_precision_is_what_the_processor_multiplies(
    monkeypatch: pytest.MonkeyPatch, flags: str, native: bool
) -> None:
    monkeypatch.setattr(device, "_processor_flags", lambda: frozenset(flags.split()))
    assert multiplies_bfloat16(CPU) is native
    for precision, low in (("auto", native), ("bf16", True), ("fp32", False)):
        with precision_of(tiny_spec(train__precision=precision).train, CPU):
            product = torch.ones(2, 2) @ torch.ones(2, 2)
        assert (product.dtype == torch.bfloat16) is low


def test_compiling_without_a_compiler_is_refused(monkeypatch: pytest.MonkeyPatch, batches: Batches) -> None:
    monkeypatch.setattr(towers.shutil, "which", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"train\.compile = true needs a C\+\+ compiler"):
        end_of(batches, tiny_spec(train__compile=True))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("chunk_rows", 2),
        ("accumulate_batches", 2),
        ("text_buckets", 2),
        ("processes", 2),
        ("gradient_norm", 0.3),
        ("whole_images_share", 0.2),
        ("deterministic", False),
    ],
)
def test_keys_that_private_steps_do_not_know_are_refused(key: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=rf"train\.{key} does not go with privacy\.mode = 'local'"):
        private_spec(**{f"train__{key}": value})


def test_a_device_that_private_steps_do_not_use_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"train\.device = 'cuda' does not go .* on the CPU"):
        private_spec(train__device="cuda")
    assert private_spec(train__device="cpu").train.device == "cpu"


def test_speed_keys_leave_weights_where_they_were(batches: Batches) -> None:
    _, plain, _ = end_of(batches, tiny_spec(train__learning_rate=1e-4))
    for changes in ({"text_buckets": 3}, {"gradient_checkpointing": True}, {"chunk_rows": 4}):
        spec = tiny_spec(train__learning_rate=1e-4, **{f"train__{key}": v for key, v in changes.items()})
        require_close(end_of(batches, spec)[1], plain, 2e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore:`torch.jit.script:DeprecationWarning"
)  # torch's own, when it loads inductor
def test_compiled_towers_end_where_plain_ones_do(batches: Batches, monkeypatch: pytest.MonkeyPatch) -> None:
    # Compile in this process: torch leaves its pool of compilers to the end of the interpreter.
    monkeypatch.setattr("torch._inductor.config.compile_threads", 1)
    _, plain, _ = end_of(batches, tiny_spec(train__learning_rate=1e-4))
    _, compiled, _ = end_of(batches, tiny_spec(train__learning_rate=1e-4, train__compile=True))
    require_close(compiled, plain, 2e-5)


@pytest.mark.slow
def test_two_processes_end_in_the_weights_of_one_that_takes_their_parts_in_turn(batches: Batches) -> None:
    """To the bit: sums of two do not depend on their order, and the parts are chunks."""
    turns, _, _ = end_of(batches, tiny_spec(train__chunk_rows=3))
    together, _, _ = end_of(batches, tiny_spec(train__processes=2))
    assert together == turns


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"train__chunk_rows": 2, "train__accumulate_batches": 2}])
def test_two_processes_end_in_the_weights_of_one(
    batches: Batches, tmp_path: Path, changes: dict[str, Any]
) -> None:
    before = multiprocessing.active_children()  # another test's, that stay
    whole, one, alone = end_of(batches, tiny_spec(**changes))
    again, two, shared = end_of(batches, tiny_spec(train__processes=2, **changes))
    assert again != whole
    require_close(two, one, 1e-5)
    assert shared.losses.rows == alone.losses.rows
    assert shared.losses.means() == pytest.approx(alone.losses.means(), rel=1e-5)
    assert set(multiprocessing.active_children()) == set(before)
