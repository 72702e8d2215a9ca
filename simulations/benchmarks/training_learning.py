"""How long a party of the training benchmark trains until it answers zero-shot questions about real images.

All see the same batches of the pooled training rows, made before the clock runs, at the same learning rates.
Shapes: B pairs, C channels, S pixels a side, T word pieces.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from common.data.batch import Batch
from common.data.batches import Batches
from common.data.corpus import pool, read_corpus
from common.errors import ConfigurationError, InputRefusedError
from common.project import Project, create_project, open_project
from common.spec.run import read_spec
from common.store import Store
from common.training.optimizer import learning_rate_at
from server.evaluation import Evaluator
from simulations.benchmarks.training_ours import our_spec
from simulations.benchmarks.training_party import Pairs, Party, Setting, Shape

LEARNING_SHAPE = Shape(
    image_width=128,
    image_depth=4,
    text_width=128,
    text_depth=2,
    embedding=128,
    vocabulary=4096,
    batch_size=64,
)
"""But for the size of the images, which the stores decide."""
LEARNING_RATE = 1e-3

PIXEL_MEAN, PIXEL_DEVIATION = 0.45, 0.27
"""What CLIP's preprocessing takes off and divides by (Radford et al. 2021), the mean of its three channels;
our model looks at each image's own."""


@dataclass(frozen=True)
class RealQuestions:
    """Labelled stores, and how well their images are to be told apart."""

    stores: Mapping[str, Path]
    """Site -> store; training rows teach, held-out rows ask."""
    bank: Path | None
    """Public reports for the vocabulary."""
    questions: Path
    """Spec whose `[evaluation]` asks, and as whose `[data.images]` says the stores were made."""
    auroc: float
    """The mean zero-shot AUROC to be reached."""
    steps: int = 300


@dataclass(frozen=True)
class Course:
    """What a party's process is told of it."""

    project: Path
    stores: Mapping[str, Path]
    steps: int
    every: int = 25
    """Steps from one questioning to the next."""


@dataclass(frozen=True)
class Lesson:
    """Where a party stands."""

    steps: int
    cpu_seconds: float
    """Of training alone, so far."""
    mean_auroc: float


def prepare_course(folder: Path, real: RealQuestions) -> tuple[Course, Shape]:
    """Make the project whose word pieces all parties read in `folder`; the course, and their models' shape.

    Raises:
        ConfigurationError: `questions` is no spec, or asks nothing.
    """
    asked = read_spec(real.questions)
    if not asked.evaluation.zero_shot:
        raise ConfigurationError(f"{real.questions.name} asks no question: add [[evaluation.zero_shot]]")
    shape = replace(LEARNING_SHAPE, image_size=asked.model.image_size)
    spec = our_spec(shape, Setting(at_best=True, precision="auto"))
    data = spec.data.model_copy(
        update={"images": asked.data.images, "sentence_share": asked.data.sentence_share}
    )
    spec = spec.model_copy(update={"data": data, "evaluation": asked.evaluation})
    bank = None if real.bank is None else Store(real.bank)
    project = create_project(folder, spec, sites=sorted(real.stores), bank=bank)
    course = Course(folder, real.stores, real.steps)
    return course, replace(shape, vocabulary=project.tokenizer.vocabulary_size + 1)


def learn(
    party: Party, course: Course, *, normalised: bool, cpu_seconds: Callable[[], float]
) -> list[Lesson]:
    """Train `party` through the course, and question it on the way.

    Args:
        party: fresh.
        course: of the benchmark.
        normalised: whether it takes images as CLIP's preprocessing makes them.
        cpu_seconds: the processor's clock.

    Raises:
        InputRefusedError: a store was made otherwise, or no image is labelled.
    """
    project = open_project(course.project)
    batches = _batches(project, course)
    evaluator = Evaluator(project, dict(course.stores))
    listener = _Listener(party, normalised=normalised)
    train = project.spec.train.model_copy(update={"learning_rate": LEARNING_RATE})
    spent, lessons = 0.0, []
    for first in range(0, course.steps, course.every):
        steps = range(first, min(first + course.every, course.steps))
        pairs = [_pairs(batches.at(step), normalised=normalised) for step in steps]
        before = cpu_seconds()
        for step, given in zip(steps, pairs, strict=True):
            party.step(given, learning_rate_at(step, course.steps, train))
        spent += cpu_seconds() - before
        mean = evaluator.glance_at(listener).evaluation.mean_auroc
        if mean is None:
            raise InputRefusedError("no question has held-out images of both answers: fedvlp-site label")
        lessons.append(Lesson(steps.stop, spent, mean))
    return lessons


def seconds_until(lessons: list[Lesson], mean_auroc: float) -> float | None:
    """Processor seconds until that AUROC was first met; None if it never was."""
    return next((lesson.cpu_seconds for lesson in lessons if lesson.mean_auroc >= mean_auroc), None)


class _Listener:
    """A party as the hub's evaluator knows models."""

    def __init__(self, party: Party, *, normalised: bool) -> None:
        self._party = party
        self._normalised = normalised

    def eval(self) -> object:
        return self._party.model.eval()

    def embed_images(self, images: Tensor) -> Tensor:
        return self._party.embed_images(_three_channels(images, normalised=self._normalised))

    def embed_texts(self, tokens: Tensor, mask: Tensor) -> Tensor:
        return self._party.embed_texts(tokens, mask.sum(dim=1))


def _batches(project: Project, course: Course) -> Batches:
    spec, reading = project.spec, project.reading
    rows = pool(
        [
            read_corpus(
                Store(folder), "train", project.tokenizer, preparation=spec.preparation, reading=reading
            )
            for _, folder in sorted(course.stores.items())
        ]
    )
    return Batches(spec, project.tokenizer, rows, None, "benchmark")


def _pairs(batch: Batch, *, normalised: bool) -> Pairs:
    rows = batch.paired
    return Pairs(
        _three_channels(batch.images[rows], normalised=normalised),
        batch.tokens[rows],
        batch.token_mask[rows].sum(dim=1),
    )


def _three_channels(images: Tensor, *, normalised: bool) -> Tensor:
    images = images[:, :1].expand(-1, 3, -1, -1)
    return torch.sub(images, PIXEL_MEAN).div(PIXEL_DEVIATION) if normalised else images
