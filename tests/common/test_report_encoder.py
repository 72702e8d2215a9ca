"""Targets by what a frozen encoder makes of reports: its vectors, where they are kept, what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.testing import assert_array_equal
from saved_towers import save_bert
from tiny import PREPARATION, SITES, tiny_spec, tiny_store

from common.data.batches import Batches
from common.data.corpus import pool, read_corpus
from common.errors import ConfigurationError
from common.model.report_encoder import ReportEncoder
from common.model_folder import write_model
from common.objectives.targets import report_similarity, target_of
from common.project import Project, create_project, open_project, weights_of
from common.store import Store
from common.text.ontology import sentences

transformers = pytest.importorskip("transformers")

WORDS = [
    "opacity",
    "on",
    "the",
    "left",
    "right",
    "lungs",
    "are",
    "clear",
    "heart",
    "is",
    "normal",
    ".",
    "effusion",
    "no",
]
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
TARGETS = {"alike": "encoder_similarity", "alike_share": 0.5}


def project_with(tmp_path: Path, encoder: Path, **changes: Any) -> Project:
    spec = tiny_spec(
        data__report_encoder=str(encoder), objectives__global_contrastive={"targets": TARGETS}, **changes
    )
    bank = tiny_store(tmp_path / "bank", rows=12)
    return create_project(tmp_path / "project", spec, sites=[*SITES], bank=bank)


def batches_of(project: Project, tmp_path: Path) -> Batches:
    store = tiny_store(tmp_path / "east")
    private = read_corpus(store, "train", project.tokenizer, preparation=PREPARATION, reading=project.reading)
    anchors = read_corpus(
        Store(tmp_path / "bank"), None, project.tokenizer, preparation=PREPARATION, reading=project.reading
    )
    return Batches(project.spec, project.tokenizer, private, anchors, "east")


def test_its_cosines_are_those_of_transformers_less_what_is_common_to_public_text(tmp_path: Path) -> None:
    theirs = save_bert(tmp_path / "bert", PIECES, seed=5)
    encoder = project_with(tmp_path, tmp_path / "bert").reading.encoder
    assert encoder is not None
    their_tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "bert", local_files_only=True)

    def said(texts: list[str]) -> torch.Tensor:
        given = their_tokenizer(texts, padding=True, truncation=True, max_length=32, return_tensors="pt")
        mask = given["attention_mask"][..., None]
        with torch.no_grad():
            x = theirs(**given).last_hidden_state
        return F.normalize((x * mask).sum(1) / mask.sum(1), dim=1)

    texts = ["The lungs are clear.", "Opacity on the left.", "no effusion"]
    expected = F.normalize(said(texts) - said(list(sentences())).mean(0), dim=1)
    torch.testing.assert_close(encoder.vectors(texts), expected, rtol=1e-3, atol=1e-4)


def test_a_sentence_means_the_same_to_the_bit_whatever_else_is_read(tmp_path: Path) -> None:
    save_bert(tmp_path / "bert", PIECES, seed=5)
    encoder = project_with(tmp_path, tmp_path / "bert").reading.encoder
    assert encoder is not None
    texts = ["opacity on the left", "clear", "the heart is normal . no effusion . the lungs are clear"]
    together = encoder.vectors(texts)
    for place, text in enumerate(texts):
        assert torch.equal(encoder.vectors([text])[0], together[place])


def test_a_batch_carries_the_mean_of_what_is_shown_and_its_targets_are_shares(tmp_path: Path) -> None:
    save_bert(tmp_path / "bert", PIECES, seed=5)
    project = project_with(tmp_path, tmp_path / "bert", data__sentence_share=0.0)
    batches = batches_of(project, tmp_path)
    batch = batches.at(0)
    encoder = project.reading.encoder
    assert encoder is not None
    assert batch.meanings is not None
    known = {
        project.tokenizer.decode(ids).replace(" .", "."): row
        for ids, row in zip(batch.tokens, batch.meanings, strict=True)
    }
    left = encoder.vectors(["Opacity on the left."])[0]
    torch.testing.assert_close(known["opacity on the left."], left, rtol=1e-2, atol=1e-3)
    alike = report_similarity(batch.meanings)
    same = (batch.tokens[:, None] == batch.tokens[None]).all(-1)
    assert bool((alike[same] > 0.99).all())
    assert bool((alike[~same] < 0.99).all())
    objective = project.spec.objectives.global_contrastive
    assert objective is not None
    target = target_of(objective.targets, batch, batch.paired)
    torch.testing.assert_close(target.sum(1), torch.ones(len(target)))
    model = project.fresh_model()
    model.total(model.losses(batch)).backward()
    assert all(weight.grad is None or bool(weight.grad.isfinite().all()) for weight in model.parameters())


def test_some_sentences_mean_their_sum_and_none_nothing(tmp_path: Path) -> None:
    save_bert(tmp_path / "bert", PIECES, seed=5)
    project = project_with(tmp_path, tmp_path / "bert")
    corpus = batches_of(project, tmp_path).private
    assert corpus.meanings is not None
    row = next(i for i, report in enumerate(corpus.sentences) if len(report) == 2)
    one, other, both = (corpus.meanings.of(row, part, mirrored=False) for part in ([0], [1], [1, 0]))
    torch.testing.assert_close(both, F.normalize(one + other, dim=0))
    assert not corpus.meanings.of(row, [], mirrored=False).any()


def test_mirrored_reports_mean_what_they_say_then(tmp_path: Path) -> None:
    save_bert(tmp_path / "bert", PIECES, seed=5)
    project = project_with(tmp_path, tmp_path / "bert", data__flip_share=0.5)
    batches = batches_of(project, tmp_path)
    whole = pool([batches.private, batches.private])
    assert whole.meanings is not None
    encoder = project.reading.encoder
    assert encoder is not None
    row = next(
        i for i, report in enumerate(whole.sentences) if "left" in project.tokenizer.decode(list(report[0]))
    )
    right = encoder.vectors(["Opacity on the right."])[0]
    for place in (row, row + len(batches.private)):
        turned = whole.meanings.of(place, [0], mirrored=True)
        torch.testing.assert_close(turned, right, rtol=1e-2, atol=1e-3)
    batches.at(0)


def test_a_store_is_encoded_once_for_an_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_bert(tmp_path / "bert", PIECES, seed=5)
    project = project_with(tmp_path, tmp_path / "bert")
    calls: list[int] = []
    vectors = ReportEncoder.vectors
    monkeypatch.setattr(ReportEncoder, "vectors", lambda self, texts: calls.append(1) or vectors(self, texts))

    def read(who: Project) -> np.ndarray[Any, Any]:
        store = Store(tmp_path / "east")
        store.verify()
        found = read_corpus(store, "train", who.tokenizer, preparation=PREPARATION, reading=who.reading)
        assert found.meanings is not None
        return found.meanings.vectors

    tiny_store(tmp_path / "east")
    digest = Store(tmp_path / "east").digest()
    first = read(project)
    assert_array_equal(read(open_project(project.folder)), first)
    assert calls == [1]
    assert Store(tmp_path / "east").digest() == digest
    other = tmp_path / "other"
    write_model(other, project, project.layout.flatten(weights_of(project.fresh_model())))
    second = create_project(
        tmp_path / "second",
        tiny_spec(data__report_encoder=str(other), objectives__global_contrastive={"targets": TARGETS}),
        sites=[*SITES],
        bank=Store(tmp_path / "bank"),
    )
    assert read(second).shape == (len(first), 8)
    assert calls == [1, 1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data__report_encoder": "somewhere"}, "need each other"),
        ({"objectives__global_contrastive": {"targets": TARGETS}}, "need each other"),
    ],
)
def test_an_encoder_and_its_use_go_together(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        tiny_spec(**changes)


@pytest.mark.parametrize("folder", ["nothing", "half a model"])
def test_what_is_no_encoder_is_refused_in_one_line(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir()
    if folder == "half a model":
        (tmp_path / folder / "config.json").write_text('{"model_type": "fedvlp"}')
    with pytest.raises(ConfigurationError) as caught:
        project_with(tmp_path, tmp_path / folder)
    assert "\n" not in str(caught.value)
    assert "model.safetensors" in str(caught.value)
