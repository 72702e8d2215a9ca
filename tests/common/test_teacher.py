"""Distillation from a model that was trained before: a project carries it, and a student comes to agree."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import SITES, stir, tiny_spec
from torch import Tensor

from common.data.batches import Batches
from common.data.corpus import Corpus
from common.errors import ConfigurationError, IntegrityError
from common.model.vlp import VLPModel
from common.model_folder import write_model
from common.project import Project, create_project, open_project, weights_of
from common.store import Store
from common.training.trainer import train


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory, bank: Store) -> Path:
    """The folder of a wider model than the student, with a space of its own."""
    folder = tmp_path_factory.mktemp("teacher")
    spec = tiny_spec(model__image__width=16, model__embedding_width=12, name="large")
    project = create_project(folder / "project", spec, sites=[*SITES], bank=bank)
    model = project.fresh_model()
    stir(model)
    write_model(folder / "model", project, project.layout.flatten(weights_of(model)))
    return folder / "model"


def taught(folder: Path, teacher: Path, bank: Store, **changes: Any) -> Project:
    spec = tiny_spec(
        objectives={"global_contrastive": {}, "distillation": {"teacher": str(teacher), "weight": 20.0}},
        train__learning_rate=1e-2,
        **changes,
    )
    return create_project(folder / "project", spec, sites=[*SITES], bank=bank)


def similarities(model: VLPModel, corpus: Corpus, project: Project) -> Tensor:
    batch = Batches(project.spec, project.tokenizer, corpus, corpus, "probe").at(0)
    with torch.no_grad():
        return model.embed_images(batch.images) @ model.embed_texts(batch.tokens, batch.token_mask).T


def test_a_student_comes_to_agree_with_its_teacher_who_stays_as_it_is(
    tmp_path: Path, teacher: Path, bank: Store, corpus: Corpus, anchors: Corpus
) -> None:
    project = taught(tmp_path, teacher, bank)
    student = project.fresh_model()
    before = {name: weight.clone() for name, weight in project.teacher.state_dict().items()}
    assert not any("teacher" in name for name in project.layout.names), "it is no part of what is exchanged"
    wanted = similarities(project.teacher, corpus, project)
    far = (similarities(student.eval(), corpus, project).softmax(1) - wanted.softmax(1)).abs().mean()
    batches = Batches(project.spec, project.tokenizer, corpus, anchors, "east")
    record = train(student, batches, project.spec, first_step=0, steps=60, total_steps=60)
    near = (similarities(student.eval(), corpus, project).softmax(1) - wanted.softmax(1)).abs().mean()
    assert near < 0.7 * far
    assert "distillation" in record.losses.means()
    assert all(torch.equal(weight, before[name]) for name, weight in project.teacher.state_dict().items())


def test_a_project_carries_its_teacher_and_refuses_another(
    tmp_path: Path, teacher: Path, bank: Store
) -> None:
    project = taught(tmp_path, teacher, bank)
    assert "teacher/model.safetensors" in project.manifest.pretrained_sha256
    file = project.folder / "pretrained" / "teacher" / "config.json"
    file.write_text(file.read_text() + " ")
    with pytest.raises(IntegrityError, match=r"teacher/config\.json differs"):
        open_project(project.folder)


def test_teachers_that_do_not_fit_are_refused_in_one_line(tmp_path: Path, teacher: Path, bank: Store) -> None:
    with pytest.raises(ConfigurationError, match=r"lacks config\.json, model\.safetensors, tokenizer\.json"):
        taught(tmp_path / "a", tmp_path, bank)
    with pytest.raises(ConfigurationError, match="other word pieces"):
        taught(tmp_path / "b", teacher, bank, model__text__vocabulary_size=300)
    with pytest.raises(ConfigurationError, match="prepared otherwise"):
        taught(tmp_path / "c", teacher, bank, model__image_size=32)
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in teacher.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    (broken / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ConfigurationError, match="no model of this version"):
        taught(tmp_path / "d", broken, bank)
