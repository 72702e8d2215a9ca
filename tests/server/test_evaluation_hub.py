from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from tiny import IMAGE_SIZE, PREPARATION, SITES, tiny_spec, tiny_store
from torch import Tensor

from common.evaluation.zero_shot import NOT_LABELLED
from common.model.vlp import VLPModel
from common.project import Project, create_project, weights_of
from common.store import Row, Store, write_labels, write_store
from server.checkpoint import fresh_global_state
from server.evaluation import Evaluator, _truth
from server.report.records import FinalScores, RoundEvaluation

EAST, WEST = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])


class Seer(VLPModel):
    """Embeds by what it is shown: bright images and reports that say opacity to one side, others across."""

    project: Project
    upside_down = False

    def embed_images(self, images: Tensor) -> Tensor:
        bright = (images.amax(dim=(1, 2, 3)) > 0.5) != self.upside_down
        return torch.where(bright[:, None], EAST, WEST)

    def embed_texts(self, tokens: Tensor, mask: Tensor) -> Tensor:
        said = ["opacity" in self.project.tokenizer.decode(row) for row in tokens]
        return torch.where(torch.tensor(said)[:, None], EAST, WEST)


@pytest.fixture
def seer(project: Project) -> Seer:
    model = Seer(project.spec, project.tokenizer.vocabulary_size)
    model.project = project
    return model


@pytest.fixture
def evaluator(project: Project, stores: dict[str, Store]) -> Evaluator:
    return Evaluator(project, {site: store.folder for site, store in stores.items()})


def judging(evaluator: Evaluator, model: VLPModel, monkeypatch: pytest.MonkeyPatch) -> Evaluator:
    """`evaluator` with a model that no weights can change."""
    monkeypatch.setattr(evaluator, "_model", model)
    return evaluator


def test_a_model_that_sees_and_reads_scores_one(
    evaluator: Evaluator, seer: Seer, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert evaluator.glance_at(seer).evaluation.zero_shot == {"opacity": 1.0}
    scores = judging(evaluator, seer, monkeypatch).judge(weights_of(project.fresh_model()))
    assert scores.mean_auroc is not None
    assert (scores.mean_auroc.value, scores.mean_auroc.low, scores.mean_auroc.high) == (1.0, 1.0, 1.0)
    task = scores.task("opacity")
    assert task is not None
    assert (task.positives, task.negatives) == (9, 3)


def test_a_model_that_sees_the_reverse_scores_zero_and_a_blind_one_a_half(
    evaluator: Evaluator, seer: Seer, monkeypatch: pytest.MonkeyPatch
) -> None:
    seer.upside_down = True
    assert evaluator.glance_at(seer).evaluation.mean_auroc == 0.0
    monkeypatch.setattr(Seer, "embed_images", lambda self, images: EAST.expand(len(images), -1))
    assert evaluator.glance_at(seer).evaluation.mean_auroc == 0.5


def test_retrieval_is_judged_within_each_hospital_in_both_directions(
    evaluator: Evaluator, seer: Seer, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = judging(evaluator, seer, monkeypatch).judge(weights_of(project.fresh_model())).retrieval
    assert [(score.site, score.direction) for score in scores] == [
        (site, direction) for site in sorted(SITES) for direction in ("image-to-report", "report-to-image")
    ]
    assert all(score.queries == 4 for score in scores)
    assert all(score.percentile_rank.value >= 0.75 for score in scores)


def test_a_glance_is_taken_in_the_rounds_of_the_spec_and_in_the_last(
    stores: dict[str, Store], bank: Store, tmp_path: Path
) -> None:
    spec = tiny_spec(evaluation__every_rounds=2)
    project = create_project(tmp_path / "project", spec, sites=[*SITES], bank=bank)
    evaluator = Evaluator(project, {"east": stores["east"].folder})
    looked = []
    for finished in (1, 2, 3):
        state = fresh_global_state(project)
        state.round = finished
        looked.append(evaluator.glance(state).evaluation.mean_auroc is not None)
    assert looked == [False, True, True]


def test_a_glance_agrees_with_the_full_judgement(evaluator: Evaluator, project: Project) -> None:
    state = fresh_global_state(project)
    state.round = project.spec.federation.rounds
    glance = evaluator.glance(state)
    final = evaluator.judge(project.layout.unflatten(state.weights)).mean_auroc
    assert final is not None
    assert glance.evaluation.mean_auroc == pytest.approx(final.value)
    assert glance.words() == f"zero-shot AUROC {final.value:.3f}"


def test_judging_the_same_weights_twice_gives_the_same_scores(evaluator: Evaluator, project: Project) -> None:
    weights = weights_of(project.fresh_model())
    assert evaluator.judge(weights) == evaluator.judge(weights)


def test_judging_leaves_the_number_of_threads(evaluator: Evaluator, project: Project) -> None:
    torch.set_num_threads(1)
    evaluator.glance_at(project.fresh_model())
    assert torch.get_num_threads() == 1


def test_without_stores_nothing_is_scored(project: Project) -> None:
    evaluator = Evaluator(project, {})
    scores = evaluator.judge(weights_of(project.fresh_model()))
    assert (scores.zero_shot, scores.mean_auroc, scores.retrieval) == ((), None, ())
    glance = evaluator.glance_at(project.fresh_model())
    assert (glance.evaluation.mean_auroc, glance.words()) == (None, "")


def test_stores_that_nobody_is_asked_about_are_not_read(tmp_path: Path) -> None:
    spec = tiny_spec(evaluation={"retrieval": False}, data__anchor_pairs=0)
    quiet = create_project(tmp_path / "project", spec, sites=list(SITES), bank=None)
    evaluator = Evaluator(quiet, dict.fromkeys(SITES, tmp_path / "absent"))
    weights = weights_of(quiet.fresh_model())
    assert evaluator.judge(weights) == FinalScores()
    assert evaluator.glance(fresh_global_state(quiet)).evaluation == RoundEvaluation()


def test_a_store_without_labels_is_judged_by_retrieval_alone(project: Project, tmp_path: Path) -> None:
    store = tiny_store(tmp_path / "plain")
    (store.folder / "labels.parquet").unlink()
    scores = Evaluator(project, {"east": store.folder}).judge(weights_of(project.fresh_model()))
    assert (scores.zero_shot, scores.mean_auroc) == ((), None)
    assert len(scores.retrieval) == 2


def test_one_held_out_pair_has_nothing_to_be_told_from(project: Project, tmp_path: Path) -> None:
    image = np.zeros((1, IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    row = Row("i", "s", "p", image, "CR", "PA", "test", {"findings": "Clear."})
    write_store(tmp_path / "one", name="one", preparation=PREPARATION, rows=[row])
    scores = Evaluator(project, {"east": tmp_path / "one"}).judge(weights_of(project.fresh_model()))
    assert scores.retrieval == ()


def test_truth_is_asked_of_labelled_images_of_the_named_sites_only(tmp_path: Path) -> None:
    def row(number: int, *, image: bool) -> Row:
        pixels = np.zeros((1, IMAGE_SIZE, IMAGE_SIZE), np.uint8) if image else None
        return Row(f"i{number}", f"s{number}", f"p{number}", pixels, "CR", "", "test", {"findings": "x"})

    rows = [row(0, image=True), row(1, image=False), row(2, image=True), row(3, image=True)]
    write_store(tmp_path, name="east", preparation=PREPARATION, rows=rows)
    labels = {"row": pa.array([0, 1, 2], pa.int32()), "opacity": ["1", "1", "0"]}
    write_labels(tmp_path, pa.table(labels))
    store, task = Store(tmp_path), tiny_spec().evaluation.zero_shot[0]
    assert _truth(task, "east", store).tolist() == [1, NOT_LABELLED, 0, NOT_LABELLED]
    elsewhere = task.model_copy(update={"sites": ("west",)})
    assert set(_truth(elsewhere, "east", store)) == {NOT_LABELLED}
    turned = task.model_copy(update={"positive": ("0",), "negative": ("1",)})
    assert _truth(turned, "east", store).tolist() == [0, NOT_LABELLED, 1, NOT_LABELLED]
    unknown = task.model_copy(update={"label": "fracture"})
    assert set(_truth(unknown, "east", store)) == {NOT_LABELLED}
