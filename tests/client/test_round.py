import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import ConfigRecord, RecordDict
from numpy.testing import assert_allclose, assert_array_equal
from one_site import ask
from tiny import IMAGE_SIZE, PREPARATION, SITES, first_instruction, node_config, tiny_spec, tiny_store

from client.round import Site, check_instruction, open_site, receive_model, train_locally, weighted_delta
from common.data.corpus import read_corpus
from common.errors import ConfigurationError, IntegrityError
from common.messages import HELLO, TRAIN, Answer, Instruction
from common.project import Project, create_project, weights_of
from common.store import IMAGES, Row, Store, write_store
from common.training.trainer import train, validate
from common.update import FIXED_POINT, digest_weights, sum_names
from server.aggregate import Accumulator


@pytest.fixture
def node(project: Project, stores: dict[str, Store], bank: Store) -> dict[str, str]:
    return node_config(project, stores, "east", bank)


@pytest.fixture
def site(node: dict[str, str]) -> Site:
    return open_site(node)


@pytest.fixture
def instruction(project: Project) -> Instruction:
    return first_instruction(project)


def refusal(node: Mapping[str, str], content: RecordDict | None = None, kind: str = TRAIN) -> str:
    """What the hub reads when the hospital refuses."""
    reply = ask(node, content, kind)
    assert reply.has_error()
    return str(reply.error.reason)


def lanes_of(answer: Answer, project: Project) -> dict[str, int]:
    return dict(zip(sum_names(project.spec.objectives.names), answer.sums.tolist(), strict=True))


def test_a_hospital_says_who_it_is_and_what_it_approved(node: dict[str, str], project: Project) -> None:
    said = ask(node, kind=HELLO).content
    assert dict(said.config_records["hello"]) == {"site": "east", "project": project.digest}
    assert list(said) == ["hello"]


def test_nothing_leaves_but_the_digests_the_update_and_the_sums(
    node: dict[str, str], instruction: Instruction
) -> None:
    reply = ask(node, instruction.to_records()).content
    assert {name: sorted(record) for name, record in reply.items()} == {
        "round": ["model", "project", "round"],
        "update": ["high", "low"],
        "sums": ["sums"],
    }


def test_the_answer_is_the_update_of_this_instruction(
    node: dict[str, str], site: Site, instruction: Instruction, project: Project
) -> None:
    answer = Answer.from_records(ask(node, instruction.to_records()).content)
    assert (answer.round, answer.project, answer.model) == (1, project.digest, instruction.model)
    cap = project.spec.federation.weight_cap
    mean = Accumulator(
        project.layout, project.spec.objectives.names, instruction, project.profile, weight_cap=cap
    )
    lanes = mean.add(answer)
    update = mean.finish().mean
    assert np.abs(update).max() > 0
    assert lanes["weight"] == site.weight
    assert (lanes["steps"], lanes["examples"]) == (2, 8)
    assert lanes["training_microseconds"] > 0
    assert lanes["training/masked_image/rows"] == 12


def test_the_update_is_training_from_the_model_that_was_sent(
    node: dict[str, str], site: Site, instruction: Instruction, project: Project
) -> None:
    answer = Answer.from_records(ask(node, instruction.to_records()).content)
    model = receive_model(site, instruction)
    train_locally(site, model, 1)
    exact = project.layout.flatten(weights_of(model)) - instruction.weights
    bound, levels = np.repeat(instruction.clips, project.layout.sizes), project.profile.levels
    assert_allclose(answer.planes.integers() * bound / levels, exact, atol=float(bound.max()) / levels)


def test_the_same_instruction_gives_the_same_update_to_the_bit(
    node: dict[str, str], instruction: Instruction, project: Project
) -> None:
    answers = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        answers.append(Answer.from_records(ask(node, instruction.to_records()).content))
    assert_array_equal(answers[0].planes.low, answers[1].planes.low)
    assert_array_equal(answers[0].planes.high, answers[1].planes.high)
    timeless = [
        {name: value for name, value in lanes_of(answer, project).items() if "microseconds" not in name}
        for answer in answers
    ]
    assert timeless[0] == timeless[1]


def test_another_round_or_hospital_trains_otherwise(
    project: Project, stores: dict[str, Store], bank: Store, instruction: Instruction
) -> None:
    answers = [
        Answer.from_records(ask(node_config(project, stores, site, bank), said.to_records()).content)
        for site, said in (
            ("east", instruction),
            ("west", instruction),
            ("east", replace(instruction, round=2)),
        )
    ]
    assert len({answer.planes.low.tobytes() for answer in answers}) == 3


@pytest.mark.parametrize("number", [1, 3])
def test_a_round_takes_the_steps_that_follow_those_before(site: Site, project: Project, number: int) -> None:
    spec, model, expected = project.spec, project.fresh_model(), project.fresh_model()
    train_locally(site, model, number)
    train(expected, site.batches, spec, first_step=2 * (number - 1), steps=2, total_steps=6)
    assert digest_weights(weights_of(model)) == digest_weights(weights_of(expected))


def test_the_incoming_model_is_judged_on_validation_patients(
    node: dict[str, str], site: Site, instruction: Instruction, project: Project
) -> None:
    answer = Answer.from_records(ask(node, instruction.to_records()).content)
    lanes = lanes_of(answer, project)
    expected = validate(project.fresh_model(), site.validation, project.spec)
    for name, total in expected.totals.items():
        assert lanes[f"validation/{name}/rows"] == expected.rows[name]
        assert lanes[f"validation/{name}/loss"] == round(total * FIXED_POINT)


def test_receiving_and_training_leave_the_instruction_as_it_is(
    node: dict[str, str], instruction: Instruction
) -> None:
    before = instruction.weights.copy()
    ask(node, instruction.to_records())
    assert_array_equal(instruction.weights, before)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda _: {"project": "f" * 64}, "project differs from the approved one"),
        (lambda _: {"round": 0}, "round out of range"),
        (lambda _: {"round": 4}, "round out of range"),
        (lambda _: {"round": -1}, "round out of range"),
        (lambda _: {"model": "f" * 64}, "model differs from its digest"),
        (lambda said: {"weights": said.weights[:-1]}, "model of another size"),
        (lambda said: {"weights": said.weights + np.float32(1e-3)}, "model differs from its digest"),
        (lambda said: {"clips": said.clips[:-1]}, "clip table does not fit"),
        (lambda said: {"clips": said.clips * 0}, "clip table does not fit"),
        (lambda said: {"clips": -said.clips}, "clip table does not fit"),
        (lambda said: {"clips": said.clips * np.float32(np.nan)}, "clip table does not fit"),
        (lambda said: {"clips": said.clips * np.float32(np.inf)}, "clip table does not fit"),
    ],
)
def test_anything_but_a_piece_of_the_approved_project_is_refused(
    node: dict[str, str],
    site: Site,
    instruction: Instruction,
    change: Callable[[Instruction], dict[str, Any]],
    words: str,
) -> None:
    said = replace(instruction, **change(instruction))
    with pytest.raises(IntegrityError) as caught:
        check_instruction(site, said)
    assert "\n" not in str(caught.value)
    assert refusal(node, said.to_records()) == f"<class 'common.errors.IntegrityError'>:<'{words}'>"


def test_a_weight_that_changed_in_one_bit_is_noticed(site: Site, instruction: Instruction) -> None:
    weights = instruction.weights.copy()
    weights.view(np.uint32)[len(weights) // 2] ^= 1
    with pytest.raises(IntegrityError, match="differs from its digest"):
        check_instruction(site, replace(instruction, weights=weights))


def test_a_malformed_message_is_refused_as_such(node: dict[str, str]) -> None:
    assert "IntegrityError'>:<'malformed message'>" in refusal(node)
    nonsense = RecordDict({"round": ConfigRecord({"round": "one"})})
    assert "IntegrityError'>:<'malformed message'>" in refusal(node, nonsense)


def test_a_model_that_is_not_finite_is_refused_and_nothing_leaves(
    node: dict[str, str], instruction: Instruction, project: Project
) -> None:
    weights = np.full_like(instruction.weights, np.nan)
    digest = project.layout.digest(weights)
    said = replace(instruction, weights=weights, model=digest)
    assert "ConfigurationError'>:<'training stopped at step 0: " in refusal(node, said.to_records())


@pytest.mark.parametrize("key", ["site", "store", "project"])
@pytest.mark.parametrize("empty", [True, False])
def test_a_setting_that_is_missing_is_named_to_the_hospital_only(
    node: dict[str, str], key: str, empty: bool
) -> None:
    lacking = node | {key: ""} if empty else {name: value for name, value in node.items() if name != key}
    with pytest.raises(ConfigurationError, match=f"lacks {key}"):
        open_site(lacking)
    assert "'node configuration incomplete'" in refusal(lacking, kind=HELLO)


def test_a_hospital_that_the_project_does_not_name_stays_out(node: dict[str, str]) -> None:
    assert "'site not in the project'" in refusal(node | {"site": "stranger"}, kind=HELLO)


def flipped(folder: Path, name: str, into: Path) -> str:
    shutil.copytree(folder, into)
    content = bytearray((into / name).read_bytes())
    content[-2] ^= 1
    (into / name).write_bytes(content)
    return str(into)


@pytest.mark.parametrize(
    "broken",
    [
        "no store",
        "flipped store",
        "small store",
        "empty store",
        "no project",
        "flipped project",
        "bank",
        "none",
    ],
)
def test_what_is_wrong_inside_is_told_outside_without_a_path(
    project: Project,
    stores: dict[str, Store],
    bank: Store,
    tmp_path: Path,
    broken: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    secret = tmp_path / "mueller_hans"
    changes: dict[str, Callable[[], dict[str, str]]] = {
        "no store": lambda: {"store": str(secret)},
        "flipped store": lambda: {"store": flipped(stores["east"].folder, IMAGES, secret)},
        "small store": lambda: {"store": str(tiny_store(secret, size=24).folder)},
        "empty store": lambda: {"store": str(without_training_rows(secret).folder)},
        "no project": lambda: {"project": str(secret)},
        "flipped project": lambda: {"project": flipped(project.folder, "tokenizer.json", secret)},
        "bank": lambda: {"bank": str(stores["west"].folder)},
        "none": lambda: {"bank": ""},
    }
    node = node_config(project, stores, "east", bank) | changes[broken]()
    said = refusal(node, kind=HELLO)
    assert said.startswith("<class 'common.errors.")
    assert not any(part in said for part in ("mueller", "hans", "/", "\n", str(tmp_path)))
    assert any(record.levelno >= logging.ERROR for record in caplog.records)


def without_training_rows(folder: Path) -> Store:
    image = np.zeros((1, IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    rows = [Row("i", "s", "p", image, "CR", "PA", "test", {"findings": "Clear."})]
    write_store(folder, name="empty", preparation=PREPARATION, rows=rows)
    return Store(folder)


@pytest.mark.parametrize(
    "stage", ["receive_model", "validate_model", "train_locally", "whole_numbers", "answer"]
)
def test_an_unexpected_error_leaves_as_a_reference_to_the_hospitals_log(
    node: dict[str, str],
    instruction: Instruction,
    stage: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object) -> None:
        raise OSError(13, "Permission denied", "/archive/mueller_hans/1.dcm")

    monkeypatch.setattr(f"client.app.{stage}", fail)
    said = refusal(node, instruction.to_records())
    prefix = "<class 'common.errors.WithheldError'>:<'PermissionError; hospital log, reference "
    assert said.startswith(prefix)
    assert "mueller" not in said
    assert "/" not in said
    assert said.removeprefix(prefix).removesuffix("'>") in caplog.text
    assert "mueller" in caplog.text


def test_a_hospital_is_opened_once(node: dict[str, str]) -> None:
    assert open_site(node) is open_site({**node})


def weighed(weighting: str, cap: int, folder: Path, stores: dict[str, Store], bank: Store) -> Site:
    spec = tiny_spec(federation__weighting=weighting, federation__weight_cap=cap)
    project = create_project(folder, spec, sites=[*SITES], bank=bank)
    return open_site(node_config(project, stores, "east", bank))


@pytest.mark.parametrize(
    ("weighting", "cap", "weight"), [("equal", 1000, 1000), ("examples", 1000, 12), ("examples", 5, 5)]
)
def test_a_hospital_counts_as_the_spec_says_and_within_the_bound(
    tmp_path: Path, stores: dict[str, Store], bank: Store, weighting: str, cap: int, weight: int
) -> None:
    site = weighed(weighting, cap, tmp_path / "project", stores, bank)
    assert (site.train_rows, site.weight) == (12, weight)
    said = first_instruction(site.project)
    model = receive_model(site, said)
    with torch.no_grad():
        for tensor in model.parameters():
            tensor += 0.25
    delta = weighted_delta(site, said, model)
    assert_allclose(delta, 0.25 * weight / cap, atol=1e-6)


def test_a_hospital_without_validation_patients_trains_all_the_same(
    project: Project, stores: dict[str, Store], bank: Store, tmp_path: Path
) -> None:
    images = np.random.default_rng(0).integers(0, 255, (3, 1, IMAGE_SIZE, IMAGE_SIZE)).astype(np.uint8)
    texts = ("The lungs are clear.", "An opacity on the left.", "The heart is large.")
    rows = [
        Row(f"i{n}", f"s{n}", f"p{n}", images[n], "CR", "", "train", {"findings": texts[n]}) for n in range(3)
    ]
    write_store(tmp_path / "small", name="small", preparation=PREPARATION, rows=rows)
    node = node_config(project, stores, "east", bank) | {"store": str(tmp_path / "small")}
    answer = Answer.from_records(ask(node, first_instruction(project).to_records()).content)
    assert lanes_of(answer, project)["validation/masked_image/rows"] == 0


@pytest.mark.parametrize("kept", ["image", "text"])
def test_a_hospital_of_images_or_reports_alone_takes_part(
    project: Project, stores: dict[str, Store], bank: Store, tmp_path: Path, kept: str
) -> None:
    source = stores["east"]
    assert len(read_corpus(source, None, project.tokenizer, preparation=PREPARATION)) == len(source)
    rows = [
        Row(
            f"i{n}",
            f"s{n}",
            f"p{n}",
            np.array(source.images[n]) if kept == "image" else None,
            "CR",
            "",
            "train" if n % 4 else "validation",
            {} if kept == "image" else source.sections()[n],
        )
        for n in range(12)
    ]
    write_store(tmp_path / kept, name=kept, preparation=PREPARATION, rows=rows)
    node = node_config(project, stores, "east", bank) | {"store": str(tmp_path / kept)}
    lanes = lanes_of(Answer.from_records(ask(node, first_instruction(project).to_records()).content), project)
    # The two anchors of each of the two steps are whole pairs.
    only = {"image": "masked_image", "text": "masked_language"}[kept]
    other = {"image": "masked_language", "text": "masked_image"}[kept]
    assert lanes[f"training/{only}/rows"] == 12
    assert lanes[f"training/{other}/rows"] == 4
    assert lanes["training/global_contrastive/rows"] == 4
    assert lanes[f"validation/{only}/rows"] == 3
    assert lanes[f"validation/{other}/rows"] == 0


def test_settings_are_read_from_the_approved_project_and_never_from_the_message(
    node: dict[str, str], instruction: Instruction, project: Project
) -> None:
    records = instruction.to_records()
    records.config_records["round"].update({"local_steps": 99, "learning_rate": 1e30, "batch_size": 2})
    records["spec"] = ConfigRecord({"train.local_steps": 99})
    plain = Answer.from_records(ask(node, instruction.to_records()).content)
    urged = Answer.from_records(ask(node, records).content)
    assert_array_equal(plain.planes.low, urged.planes.low)
    assert lanes_of(urged, project)["steps"] == project.spec.train.local_steps


def test_a_site_with_a_home_keeps_the_state_of_its_round_there(node: dict[str, str], tmp_path: Path) -> None:
    assert open_site(node).state is None
    assert (
        open_site({**node, "home": str(tmp_path)}).state
        == tmp_path / "training" / "training-state.safetensors"
    )
