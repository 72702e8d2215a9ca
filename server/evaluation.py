"""How good the global model is on held-out patients: a glance after a round, a full judgement at the end.

The hub judges on stores that it may read: in simulation those of the sites, at a real hub a public one.
Shapes: N held-out rows, E embedding width, S pixels a side.
"""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from common.data.corpus import Corpus, read_corpus
from common.data.layout import grey_values, lay_out
from common.evaluation.metrics import Estimate, Floats, auroc
from common.evaluation.retrieval import Retrieval, retrieval
from common.evaluation.zero_shot import NOT_LABELLED, ZeroShotTask, evaluate_zero_shot, zero_shot_scores
from common.model.vlp import VLPModel
from common.project import Project
from common.seeds import derive_seed
from common.spec.evaluation import ZeroShotTaskSpec
from common.store import NO_IMAGE, Store
from common.text.sections import training_text
from common.update import Weights
from server.checkpoint import GlobalState
from server.report.records import FinalScores, Interval, RetrievalScore, RoundEvaluation, ZeroShotScore

ROWS_AT_ONCE = 256


@dataclass(frozen=True)
class Glance:
    """The point estimates that a round is followed by."""

    evaluation: RoundEvaluation

    def words(self) -> str:
        """For the progress line."""
        mean = self.evaluation.mean_auroc
        return "" if mean is None else f"zero-shot AUROC {mean:.3f}"


@dataclass(frozen=True)
class HeldOut:
    """One store's held-out rows with their truth."""

    site: str
    corpus: Corpus
    patients: npt.NDArray[np.object_]
    studies: npt.NDArray[np.object_]
    texts: npt.NDArray[np.object_]
    truth: dict[str, npt.NDArray[np.int8]]
    """Task -> (N,) 1 yes, 0 no, NOT_LABELLED not asked."""


class Listener(Protocol):
    """Anything that puts images and texts into one space."""

    def eval(self) -> object:
        """Stop to train."""
        ...

    def embed_images(self, images: Tensor) -> Tensor:
        """(N, C, S, S) grey values in 0..1 -> (N, E)."""
        ...

    def embed_texts(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """(N, T) word pieces, and (N, T) bool, False on padding -> (N, E)."""
        ...


class Evaluator:
    """Judges models of one project on the held-out rows of the given stores."""

    def __init__(self, project: Project, stores: Mapping[str, Path]) -> None:
        self._project = project
        self._spec = project.spec.evaluation
        asked = self._spec.zero_shot or self._spec.retrieval
        self._held_out = [self._open(site, Store(folder)) for site, folder in sorted(stores.items()) if asked]

    @cached_property
    def _model(self) -> VLPModel:
        return self._project.fresh_model()

    def glance(self, state: GlobalState) -> Glance:
        """AUROC of each task after a round, without intervals; nothing in rounds that the spec skips."""
        last = state.round == self._project.spec.federation.rounds
        asked = self._spec.zero_shot and self._held_out
        if not asked or (state.round % self._spec.every_rounds and not last):
            return Glance(RoundEvaluation())
        self._load(self._project.layout.unflatten(state.weights))
        return self.glance_at(self._model)

    def glance_at(self, model: Listener) -> Glance:
        """The same for any model that reads the project's word pieces."""
        with _all_cores():
            tasks = self._tasks(model, self._embed_images(model))
        found = {task.name: auroc(*_asked(task)) for task in tasks}
        defined = [value for value in found.values() if math.isfinite(value)]
        mean = float(np.mean(defined)) if defined else None
        return Glance(RoundEvaluation(mean_auroc=mean, zero_shot=dict(found)))

    def answers(self, weights: Weights) -> list[ZeroShotTask]:
        """How every labelled row answers each task, for whoever compares models row by row."""
        self._load(weights)
        return self.answers_of(self._model)

    def answers_of(self, model: Listener) -> list[ZeroShotTask]:
        """The same of any model that reads the project's word pieces."""
        model.eval()
        with _all_cores():
            return [task.labelled() for task in self._tasks(model, self._embed_images(model))]

    def judge(self, weights: Weights) -> FinalScores:
        """Everything the spec asks for, with intervals over patients; nothing where no store was given."""
        if not (self._held_out and (self._spec.zero_shot or self._spec.retrieval)):
            return FinalScores()
        self._load(weights)
        draws, seed = self._spec.bootstrap_draws, derive_seed(self._project.spec.seed, "bootstrap") % 2**32
        with _all_cores():
            images = self._embed_images(self._model)
            tasks = self._tasks(self._model, images)
            scores = evaluate_zero_shot(tasks, draws=draws, seed=seed)
            found = self._retrieve(images, draws, seed) if self._spec.retrieval else []
        return FinalScores(
            zero_shot=tuple(
                ZeroShotScore(
                    task=task.task,
                    auroc=_interval(task.auroc),
                    positives=task.positives,
                    negatives=task.negatives,
                )
                for task in scores.tasks
                if _defined(task.auroc)
            ),
            mean_auroc=_interval(scores.mean_auroc) if _defined(scores.mean_auroc) else None,
            retrieval=tuple(_retrieval_score(site, one_way) for site, one_way in found),
        )

    def _open(self, site: str, store: Store) -> HeldOut:
        split = self._spec.split
        preparation = self._project.spec.preparation
        corpus = read_corpus(store, split, self._project.tokenizer, preparation=preparation)
        rows = store.rows(split)
        sections = store.sections()
        return HeldOut(
            site=site,
            corpus=corpus,
            patients=store.column("patient")[rows],
            studies=store.column("study")[rows],
            texts=np.array([training_text(sections[row]) for row in rows], dtype=object),
            truth={task.name: _truth(task, site, store)[rows] for task in self._spec.zero_shot},
        )

    def _load(self, weights: Weights) -> None:
        self._model.load_exchanged({name: torch.from_numpy(array) for name, array in weights.items()})

    def _tasks(self, model: Listener, images: list[Floats]) -> list[ZeroShotTask]:
        pooled = _rows(images)
        patients = np.concatenate(
            [[f"{held.site}/{patient}" for patient in held.patients] for held in self._held_out] or [[]]
        ).astype(object)
        return [
            ZeroShotTask(
                name=task.name,
                scores=zero_shot_scores(
                    pooled,
                    self._embed_texts(model, task.positive_prompts),
                    self._embed_texts(model, task.negative_prompts),
                ),
                truth=np.concatenate([held.truth[task.name] for held in self._held_out]),
                patients=patients,
            )
            for task in self._spec.zero_shot
            if self._held_out
        ]

    def _retrieve(self, images: list[Floats], draws: int, seed: int) -> list[tuple[str, Retrieval]]:
        found = []
        for held, embedded in zip(self._held_out, images, strict=True):
            paired = held.corpus.has_image & (held.texts != "")
            if paired.sum() < 2:
                continue
            both = retrieval(
                embedded[paired],
                self._embed_texts(self._model, tuple(held.texts[paired])),
                studies=held.studies[paired],
                texts=held.texts[paired],
                patients=held.patients[paired],
                draws=draws,
                seed=seed,
            )
            found += [(held.site, one_way) for one_way in both]
        return found

    @torch.inference_mode()
    def _embed_images(self, model: Listener) -> list[Floats]:
        """(N, E) per store; a row without an image is embedded as black and never asked."""
        model.eval()
        embedded = []
        for held in self._held_out:
            parts = [
                model.embed_images(grey_values(held.corpus.images(rows))).double().numpy()
                for rows in _blocks(len(held.corpus))
            ]
            embedded.append(_rows(parts))
        return embedded

    @torch.inference_mode()
    def _embed_texts(self, model: Listener, texts: tuple[str, ...]) -> Floats:
        """(len(texts), E)."""
        model.eval()
        longest = self._project.spec.model.text.max_tokens
        parts = []
        for rows in _blocks(len(texts)):
            pieces = [
                self._project.tokenizer.encode([texts[row]], max_tokens=longest)[0][0, 1:-1] for row in rows
            ]
            tokens, mask = lay_out([(tuple(piece.tolist()),) for piece in pieces], max_tokens=longest)
            parts.append(model.embed_texts(tokens, mask).double().numpy())
        return _rows(parts)


def _truth(task: ZeroShotTaskSpec, site: str, store: Store) -> npt.NDArray[np.int8]:
    """(num_rows,) from the store's labels; rows without an image, and other sites', are not asked."""
    truth = np.full(len(store), NOT_LABELLED, dtype=np.int8)
    labels = store.labels()
    if labels is None or task.label not in labels.column_names or (task.sites and site not in task.sites):
        return truth
    rows = labels.column("row").to_numpy()
    said = np.array(labels.column(task.label).to_pylist(), dtype=object)
    truth[rows[np.isin(said, task.positive)]] = 1
    truth[rows[np.isin(said, task.negative)]] = 0
    truth[store.index.column("image").to_numpy() == NO_IMAGE] = NOT_LABELLED
    return truth


def _asked(task: ZeroShotTask) -> tuple[Floats, npt.NDArray[np.bool_]]:
    asked = task.labelled()
    return asked.scores, asked.truth == 1


def _blocks(rows: int) -> list[npt.NDArray[np.int64]]:
    return [np.arange(start, min(start + ROWS_AT_ONCE, rows)) for start in range(0, rows, ROWS_AT_ONCE)]


def _rows(parts: list[Floats]) -> Floats:
    return np.concatenate(parts) if parts else np.zeros((0, 1))


def _defined(estimate: Estimate) -> bool:
    return all(math.isfinite(number) for number in (estimate.value, estimate.low, estimate.high))


def _interval(estimate: Estimate) -> Interval:
    return Interval(value=estimate.value, low=estimate.low, high=estimate.high)


def _retrieval_score(site: str, found: Retrieval) -> RetrievalScore:
    return RetrievalScore.model_validate({"site": site, **found.to_json()})


class _all_cores:  # noqa: N801 - reads as a statement
    """Judge with every core: unlike training, the last bit of a score decides nothing."""

    def __enter__(self) -> None:
        self._before = torch.get_num_threads()
        torch.set_num_threads(os.cpu_count() or 1)

    def __exit__(self, *_: object) -> None:
        torch.set_num_threads(self._before)
