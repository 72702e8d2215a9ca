import json
import math
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tiny import SETTINGS, settings, tiny_spec

from common.errors import ConfigurationError
from common.spec.objectives import ObjectivesSpec
from common.spec.run import Spec, parse_spec, read_spec

EXPERIMENTS = Path(__file__).parents[2] / "simulations" / "experiments"


def tables(table: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Paths of every table in the tiny spec."""
    if isinstance(table, dict):
        yield path
    for key, value in table.items() if isinstance(table, dict) else enumerate(table):
        if isinstance(value, dict | list):
            yield from tables(value, (*path, key))


def complaint(given: dict[str, Any]) -> str:
    """The one line that refuses `given`."""
    with pytest.raises(ConfigurationError) as caught:
        parse_spec(given, where="tiny.toml")
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("tiny.toml: ")
    return str(caught.value)


@pytest.mark.parametrize("path", list(tables(SETTINGS)), ids=lambda path: ".".join(map(str, path)) or "top")
def test_a_misspelt_key_anywhere_stops_the_run_and_is_named(path: tuple[str | int, ...]) -> None:
    given = settings()
    table: Any = given
    for key in path:
        table = table[key]
    table["rouns"] = 3
    assert f"unknown key '{'.'.join(map(str, (*path, 'rouns')))}'" in complaint(given)


@pytest.mark.parametrize(
    "key", ["privacy", "secure_aggregation", "model", "objectives", "data", "train", "federation", "name"]
)
def test_what_has_no_default_must_be_written_out(key: str) -> None:
    given = settings()
    del given[key]
    assert f"key '{key}' is missing; it has no default" in complaint(given)


@pytest.mark.parametrize("key", ["privacy", "secure_aggregation"])
def test_an_empty_table_says_nothing_about_what_a_patient_gives_away(key: str) -> None:
    assert f"key '{key}.mode' is missing" in complaint(settings(**{key: {}}))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", "Tiny Federation"),
        ("seed", -1),
        ("model__image_size", 8),
        ("model__text__max_tokens", 3),
        ("objectives__masked_image__ratio", 1.0),
        ("objectives__global_contrastive__initial_temperature", 0.001),
        ("objectives__global_contrastive__weight", 0),
        ("data__sentence_share", 1.5),
        ("train__local_steps", 0),
        ("train__learning_rate", math.nan),
        ("train__learning_rate", math.inf),
        ("train__precision", "fp8"),
        ("federation__update_clip", math.inf),
        ("federation__server_optimizer__momentum", 1.0),
        ("privacy__mode", "maybe"),
        ("secure_aggregation__mode", False),
        ("evaluation__bootstrap_draws", 10),
    ],
)
def test_a_value_out_of_range_is_named_with_its_key(key: str, value: object) -> None:
    line = complaint(settings(**{key: value}))
    assert f"key '{key.replace('__', '.')}'" in line
    assert repr(value) in line


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model__image__patch_pixels": 5}, "patch_pixels = 5 does not divide model.image_size = 16"),
        ({"model__image__encoder": "resnet", "model__image_size": 20}, "no multiple of 8"),
        ({"model__text__heads": 3}, "model.text.heads does not divide model.text.width"),
        ({"objectives__masked_image__decoder_heads": 3}, "does not divide its decoder_width"),
        ({"objectives": {}}, r"[objectives] is empty"),
        ({"data__anchor_pairs": 6}, "leaves no room for private pairs"),
        ({"objectives": {"image_text_matching": {}}}, "objectives.image_text_matching needs fusion"),
        ({"objectives__masked_language__condition": "fusion"}, "objectives.masked_language needs fusion"),
        ({"objectives__high_order": {}}, "objectives.high_order needs three modalities"),
        ({"objectives__bank_contrastive": {}}, "data.public_negatives need each other"),
        ({"data__public_negatives": 4}, "data.public_negatives need each other"),
        ({"objectives": {"anchor": {}}}, r"[objectives] is empty of anything to learn"),
        (
            {"objectives__masked_language": {"random_share": 0.6, "kept_share": 0.6}},
            "random_share and kept_share are more than 1 together",
        ),
        ({"data__sentence_share": 0.6, "data__snippet_share": 0.6}, "are more than 1 together"),
        ({"model__fusion": {"heads": 3}}, "model.fusion.heads does not divide model.fusion.width"),
        (
            {"model__fusion": {"pseudo_tokens": 9, "pseudo_pool": 8}},
            "more than model.fusion.pseudo_pool holds",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(changes: dict[str, Any], words: str) -> None:
    assert words in complaint(settings(**changes))


def test_further_complaints_are_counted() -> None:
    assert complaint(settings(seed=-1, data__batch_size=1)).endswith("(and 1 more)")


@pytest.mark.parametrize(
    "content", [b"name = ", b"[model]\n[model]\n", b"\xff\xfe", b"name = 'a'\nname = 'b'"]
)
def test_a_file_that_is_not_toml_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "spec.toml").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"spec\.toml is not valid TOML") as caught:
        read_spec(tmp_path / "spec.toml")
    assert "\n" not in str(caught.value)


def test_a_missing_file_or_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        read_spec(tmp_path / "spec.toml")
    with pytest.raises(ConfigurationError, match="directory"):
        read_spec(tmp_path)


def test_what_toml_says_is_what_the_spec_holds_and_a_given_seed_wins(tmp_path: Path) -> None:
    (tmp_path / "spec.toml").write_text(tomli_w.dumps(SETTINGS))
    assert read_spec(tmp_path / "spec.toml") == tiny_spec()
    assert read_spec(tmp_path / "spec.toml", seed=3) == tiny_spec(seed=3)


def shuffled(table: Any, draw: st.DrawFn) -> Any:
    if isinstance(table, dict):
        return {key: shuffled(table[key], draw) for key in draw(st.permutations(sorted(table)))}
    return [shuffled(value, draw) for value in table] if isinstance(table, list) else table


@given(st.data())
def test_the_digest_does_not_depend_on_the_order_of_keys(data: st.DataObject) -> None:
    other = parse_spec(shuffled(SETTINGS, data.draw), where="shuffled")
    assert other.canonical() == tiny_spec().canonical()
    assert other.digest() == tiny_spec().digest()


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 8},
        {"train__learning_rate": 1.0000000000000002e-3},
        {"federation__server_optimizer": {"kind": "adam"}},
        {"data__augment": False},
        {"evaluation__zero_shot": []},
    ],
)
def test_another_setting_gives_another_digest(changes: dict[str, Any]) -> None:
    assert tiny_spec(**changes).digest() != tiny_spec().digest()


def test_a_default_written_out_changes_nothing() -> None:
    assert tiny_spec(data__augment=True, train__threads=1).digest() == tiny_spec().digest()


def test_the_canonical_bytes_are_read_back_as_the_same_spec() -> None:
    again = Spec.model_validate_json(tiny_spec().canonical())
    assert again == tiny_spec()
    assert again.canonical() == tiny_spec().canonical()
    listed = list(json.loads(again.canonical()))
    assert listed == sorted(listed)


def test_a_spec_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        tiny_spec().federation.rounds = 4


PLANS = {"ablation", "ablation-rest", "demo-ablation", "pooled", "pooled-seeds", "privacy", "privacy-real"}
"""Variants of a spec, read and tested elsewhere."""


@pytest.mark.parametrize(
    "path",
    sorted(path for path in EXPERIMENTS.glob("*.toml") if path.stem not in PLANS),
    ids=lambda path: path.stem,
)
def test_every_experiment_of_the_repository_is_a_valid_spec(path: Path) -> None:
    assert read_spec(path).name == path.stem


def test_the_example_of_the_taxonomy_writes_out_every_objective_and_every_key_of_it() -> None:
    written = tomllib.loads((EXPERIMENTS / "taxonomy.toml").read_text())["objectives"]
    assert written.keys() == ObjectivesSpec.model_fields.keys()
    optional = {"targets", "teacher", "initial_bias"}
    for name, table in written.items():
        known = getattr(read_spec(EXPERIMENTS / "taxonomy.toml").objectives, name)
        assert type(known).model_fields.keys() - optional == table.keys() - optional
