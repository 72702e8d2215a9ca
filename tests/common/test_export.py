import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

from common.errors import ConfigurationError
from common.export import FedVLP
from common.model_folder import write_model
from common.project import Project
from common.update import Vector


@pytest.fixture(scope="module")
def weights(project: Project) -> Vector:
    return np.random.default_rng(0).normal(0, 0.1, project.layout.num_coordinates).astype(np.float32)


@pytest.fixture(scope="module")
def folder(project: Project, weights: Vector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("out") / "model"
    write_model(path, project, weights)
    return path


def test_transformers_loads_the_model_with_its_bits(project: Project, weights: Vector, folder: Path) -> None:
    model = AutoModel.from_pretrained(folder)
    assert isinstance(model, FedVLP)
    for name, array in project.layout.unflatten(weights).items():
        assert np.array_equal(model.vlp.state_dict()[name].numpy(), array), name


def test_transformers_computes_what_no_file_holds(project: Project, folder: Path) -> None:
    fresh = dict(project.fresh_model().named_buffers())
    loaded = dict(AutoModel.from_pretrained(folder).vlp.named_buffers())
    assert loaded.keys() == fresh.keys() != set()
    assert all(torch.equal(loaded[name], fresh[name]) for name in fresh)


def test_the_file_of_weights_holds_every_tensor_under_its_name(
    project: Project, weights: Vector, folder: Path
) -> None:
    held = load_file(folder / "model.safetensors")
    assert {name.removeprefix("vlp.") for name in held} == set(project.layout.names)
    for name, array in project.layout.unflatten(weights).items():
        assert np.array_equal(held[f"vlp.{name}"].numpy(), array)


def test_the_loaded_model_embeds_as_the_trained_one(project: Project, weights: Vector, folder: Path) -> None:
    trained = project.fresh_model()
    tensors = project.layout.unflatten(weights.copy())
    trained.load_state_dict({name: torch.from_numpy(array) for name, array in tensors.items()})
    model = AutoModel.from_pretrained(folder).eval()
    images = torch.rand(3, 1, 16, 16)
    tokens, mask = project.tokenizer.encode(["Opacity on the left.", "Clear."], max_tokens=24)
    with torch.no_grad():
        seen, read = trained.embed_images(images), trained.embed_texts(tokens, mask)
        assert torch.equal(model.get_image_features(images), seen)
        assert torch.equal(model.get_text_features(tokens, mask.long()), read)
        assert torch.allclose(model(images, tokens, mask.long()), seen @ read.T)


def test_transformers_itself_would_have_written_the_same(folder: Path, tmp_path: Path) -> None:
    AutoModel.from_pretrained(folder).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path)
    theirs, ours = (json.loads((path / "config.json").read_text()) for path in (tmp_path, folder))
    assert theirs.pop("transformers_version")
    assert theirs == ours
    assert (tmp_path / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    theirs, ours = (json.loads((path / "tokenizer.json").read_text()) for path in (tmp_path, folder))
    assert theirs == ours


def test_the_tokenizer_beside_it_gives_the_same_pieces(project: Project, folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = "Opacity on the left. The heart is normal."
    ours, _ = project.tokenizer.encode([text], max_tokens=24)
    assert tokenizer(text, truncation=True)["input_ids"] == ours[0].tolist()
    assert len(tokenizer(text * 20, truncation=True)["input_ids"]) == project.spec.model.text.max_tokens


def test_a_second_export_replaces_the_first(
    project: Project, weights: Vector, folder: Path, tmp_path: Path
) -> None:
    write_model(tmp_path / "model", project, weights)
    (tmp_path / "model" / "stray").touch()
    write_model(tmp_path / "model", project, weights + 1)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert {path.name for path in (tmp_path / "model").iterdir()} == {path.name for path in folder.iterdir()}
    held = load_file(tmp_path / "model" / "model.safetensors")
    assert not np.array_equal(
        held["vlp.text.positions"].numpy(),
        load_file(folder / "model.safetensors")["vlp.text.positions"].numpy(),
    )


def test_an_export_that_fails_keeps_the_old_model_and_leaves_nothing_beside(
    project: Project, weights: Vector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    write_model(tmp_path / "model", project, weights)
    before = (tmp_path / "model" / "model.safetensors").read_bytes()
    monkeypatch.setattr("common.model_folder.save_file", full)
    with pytest.raises(ConfigurationError, match="disk is full: model was not written"):
        write_model(tmp_path / "model", project, weights + 1)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == before
