"""A run that starts from a model of an earlier one: its weights, its vocabulary, and what does not fit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import SITES, stir, tiny_spec

from common.errors import ConfigurationError, IntegrityError
from common.model_folder import write_model
from common.project import Project, create_project, open_project, weights_of
from common.store import Store
from server.checkpoint import fresh_global_state

EARLIER = {"objectives": {"global_contrastive": {}, "masked_image": {}}}


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory, bank: Store) -> Project:
    folder = tmp_path_factory.mktemp("earlier")
    spec = tiny_spec(name="public", seed=7, **EARLIER)
    return create_project(folder / "project", spec, sites=[*SITES], bank=bank)


@pytest.fixture(scope="module")
def model(earlier: Project) -> Path:
    """The folder of a trained model."""
    trained = earlier.fresh_model()
    stir(trained)
    folder = earlier.folder.parent / "model"
    write_model(folder, earlier, earlier.layout.flatten(weights_of(trained)))
    return folder


def started(folder: Path, model: Path, bank: Store | None, **changes: Any) -> Project:
    spec = tiny_spec(model__initial=str(model), **changes)
    return create_project(folder / "project", spec, sites=[*SITES], bank=bank)


def test_a_run_starts_from_the_weights_and_the_vocabulary_of_the_earlier_one(
    tmp_path: Path, earlier: Project, model: Path, bank: Store
) -> None:
    project = started(tmp_path, model, bank, model__text__vocabulary_size=64, **EARLIER)  # size: not asked
    assert project.tokenizer.digest() == earlier.tokenizer.digest()
    trained = earlier.fresh_model()
    stir(trained)
    wanted, found = weights_of(trained), weights_of(project.fresh_model())
    assert found.keys() == wanted.keys()
    assert [name for name in found if not np.array_equal(found[name], wanted[name])] == []
    state = project.layout.unflatten(fresh_global_state(project).weights)
    assert all(np.array_equal(state[name], wanted[name]) for name in wanted), "the hub sends them out first"


def test_heads_that_only_one_run_has_do_not_matter(tmp_path: Path, model: Path, bank: Store) -> None:
    objectives = {"global_contrastive": {}, "masked_language": {}}
    project = started(tmp_path, model, bank, objectives=objectives)
    fresh = create_project(
        tmp_path / "fresh", tiny_spec(objectives=objectives), sites=[*SITES], bank=bank
    ).fresh_model()
    head = {name: weight for name, weight in fresh.state_dict().items() if "masked_language" in name}
    begun = project.fresh_model().state_dict()
    assert head
    assert not any("masked_image" in name for name in begun)
    assert all(torch.equal(begun[name], weight) for name, weight in head.items() if "bias" not in name)


def test_adapters_stand_on_the_earlier_weights(
    tmp_path: Path, model: Path, earlier: Project, bank: Store
) -> None:
    project = started(tmp_path, model, bank, model__adaptation={"rank": 2})
    adapted = project.fresh_model()
    trained = earlier.fresh_model()
    stir(trained)
    images = torch.rand(3, 1, project.spec.model.image_size, project.spec.model.image_size)
    with torch.no_grad():
        assert torch.allclose(
            adapted.eval().embed_images(images), trained.eval().embed_images(images), atol=1e-6
        )
    assert not any(name.startswith("image.") and "lora_" not in name for name in project.layout.names)


def test_a_project_carries_its_initial_model_and_refuses_another(
    tmp_path: Path, model: Path, bank: Store
) -> None:
    project = started(tmp_path, model, bank)
    file = project.folder / "pretrained" / "initial" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(IntegrityError, match=r"initial/model\.safetensors differs"):
        open_project(project.folder)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model__image__width": 16}, r"another shape than \[model\] says, first in image"),
        ({"model__image__depth": 2}, "another shape"),
        ({"model__embedding_width": 12}, "another shape"),
        ({"model__image_size": 32}, "prepared otherwise"),
    ],
)
def test_models_that_do_not_fit_are_refused_in_one_line(
    tmp_path: Path, model: Path, bank: Store, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words) as refused:
        started(tmp_path, model, bank, **changes)
    assert "\n" not in str(refused.value)


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path, bank: Store) -> None:
    with pytest.raises(ConfigurationError, match=r"model\.initial = .* lacks config\.json"):
        started(tmp_path, tmp_path, bank)
