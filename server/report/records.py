"""What a run leaves behind to be read: `run.json`, `rounds.jsonl` and `comparison.json`.

These models are the single definition of the three files: the round loop writes them, the report and the
terminal table read them. Bytes are bytes, seconds are wall seconds, an interval is a 95 % one, and a measure
that is not a finite number is written and read as null.
"""

import json
import math
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    model_validator,
)

from common.errors import InputRefusedError
from common.regular_file import read_regular_text

RUN_FILE = "run.json"
ROUNDS_FILE = "rounds.jsonl"
COMPARISON_FILE = "comparison.json"
PHASES = ("training", "evaluation", "aggregation", "transfer", "checkpoint", "other")
"""Where the wall time of a round goes, in the order it is drawn."""


def _null_unless_finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


Measure = Annotated[float | None, BeforeValidator(_null_unless_finite)]
"""A measured number, or null where there was nothing to measure or the result was no finite number."""
Share = Annotated[float, Field(ge=0, le=1)]
"""A ratio from 0 to 1."""
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{8,128}$")]
"""Lower-case hex."""


class Record(BaseModel):
    """A frozen part of a file; a key that we do not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Interval(Record):
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float


class ZeroShotScore(Record):
    """One yes/no task; a task whose test patients are all of one class has no AUROC and is left out."""

    task: str
    auroc: Interval
    """0.5 is chance."""
    positives: NonNegativeInt
    negatives: NonNegativeInt


class RetrievalScore(Record):
    """One direction of retrieval among the held-out pairs of one site."""

    site: str
    queries: NonNegativeInt
    direction: Literal["image-to-report", "report-to-image"]
    recall: dict[PositiveInt, Interval]
    """Share of queries with a correct answer among the first k, by k."""
    chance: dict[PositiveInt, Share]
    """The same share for a random order, by k."""
    percentile_rank: Interval
    """Probability that a correct answer outranks a random wrong one: 0.5 is chance, 1 is best."""


class FinalScores(Record):
    """How good a model is in the end, on patients that no site trained on."""

    zero_shot: tuple[ZeroShotScore, ...] = ()
    mean_auroc: Interval | None = None
    retrieval: tuple[RetrievalScore, ...] = ()

    def task(self, name: str) -> ZeroShotScore | None:
        """The score of the task `name`, or None where it was not asked."""
        return next((score for score in self.zero_shot if score.task == name), None)


class PhaseSeconds(Record):
    """Wall seconds by phase; `total` is the whole round or run."""

    training: NonNegativeFloat
    evaluation: NonNegativeFloat
    aggregation: NonNegativeFloat
    transfer: NonNegativeFloat
    checkpoint: NonNegativeFloat
    other: NonNegativeFloat
    total: NonNegativeFloat

    def of(self, phase: str) -> float:
        """Seconds of one of `PHASES`."""
        return float(getattr(self, phase))


class Traffic(Record):
    """Bytes of all sites together: `up` left the hospitals, `down` came to them."""

    up: NonNegativeInt
    down: NonNegativeInt


class SiteTotals(Record):
    """What one hospital gave to the run and got from it."""

    name: str
    train_rows: NonNegativeInt
    test_rows: NonNegativeInt
    patients: NonNegativeInt
    examples: NonNegativeInt | None
    """Training examples processed, over all rounds; null where secure aggregation hides them."""
    bytes_up: NonNegativeInt
    bytes_down: NonNegativeInt
    rounds_completed: NonNegativeInt
    seconds_training: NonNegativeFloat | None
    """Likewise."""
    epsilon: NonNegativeFloat | None = None
    """Privacy spent; null without privacy."""
    epsilon_alone: NonNegativeFloat | None = None
    """The same against the hub and all other hospitals together; null where no noise is joint."""


class PrivacyStatement(Record):
    """What the sites' epsilons mean: an epsilon is never quoted without it."""

    unit: str
    relation: str
    delta: float
    mechanism: Literal["R", "G"]
    sampling: str
    noise_multiplier: float
    accountant: str
    scope: str
    adversary: str
    assumption: str | None = None
    """What joint noise rests on; null where every hospital's noise is whole."""
    hospitals_per_patient: PositiveInt
    """Declared: a patient of so many hospitals loses what each spent, their Renyi curves added."""
    several_hospitals: str | None = None
    """What such a patient loses instead where the noise is joint, and all of them change the same sum."""
    tuned_on: str


class RunRecord(Record):
    """`run.json`: the whole run in one object."""

    format: Literal[1] = 1
    name: str
    seed: int
    engine: Literal["inprocess", "ray", "deployment"]
    spec_digest: Digest
    started: datetime
    rounds: PositiveInt
    """Rounds that the spec asks for."""
    parameters: NonNegativeInt
    sites: Annotated[tuple[SiteTotals, ...], Field(min_length=1)]
    final: FinalScores
    seconds: PhaseSeconds
    bytes: Traffic
    overhead_share: float
    """(round wall time - training - evaluation) / training, over the run."""
    weights_sha256: Digest
    privacy: PrivacyStatement | None = None
    """Null without privacy."""


class SiteRound(Record):
    """One hospital in one round."""

    name: str
    status: Literal["ok", "refused", "late"]
    """`late`: nothing came, in time or because the connection was lost."""
    reason: str | None = None
    """Why it did not take part; null for `ok`."""
    examples: NonNegativeInt | None = 0
    seconds_training: NonNegativeFloat | None = 0.0
    """Both null where secure aggregation hides them."""
    losses: dict[str, Measure] = {}
    """Mean training loss of the round, by objective."""
    validation: dict[str, Measure] = {}
    """Loss on the site's validation patients, by objective; empty where it was not measured."""


class CohortRound(Record):
    """All hospitals of one round together; with secure aggregation all that the hub learns."""

    examples: NonNegativeInt = 0
    losses: dict[str, Measure] = {}
    """Mean training loss over all rows of all hospitals, by objective."""
    validation: dict[str, Measure] = {}
    """The same on their validation patients; empty where it was not measured."""


class RoundEvaluation(Record):
    """The global model after a round; empty where the round was not evaluated or nothing is labelled."""

    mean_auroc: Measure = None
    zero_shot: dict[str, Measure] = {}


class RoundRecord(Record):
    """One line of `rounds.jsonl`."""

    round: PositiveInt
    sites: tuple[SiteRound, ...]
    cohort: CohortRound = CohortRound()
    evaluation: RoundEvaluation
    seconds: PhaseSeconds
    bytes: Traffic
    update_norm: Measure
    """Euclidean length of the step that the global weights took."""
    clipped_share: Measure
    """Share of update values that the quantiser had to clip."""

    def site(self, name: str) -> SiteRound | None:
        """What the hospital `name` did in this round, or None if it was not asked."""
        return next((site for site in self.sites if site.name == name), None)


class CurvePoint(Record):
    """A model on its way: AUROC after so many optimiser steps, in a federation those of one site."""

    steps: NonNegativeInt
    mean_auroc: Measure


class ModelRecord(Record):
    """One model of a comparison; its curve says how many steps it took."""

    name: str
    kind: Literal["federated", "central", "local"]
    site: str | None = None
    """The hospital that trained a local model alone; null for the other kinds."""
    final: FinalScores
    curve: tuple[CurvePoint, ...] = ()
    seconds: NonNegativeFloat

    @model_validator(mode="after")
    def _names_its_site(self) -> Self:
        if self.kind == "local" and self.site is None:
            raise ValueError("a local model names its site")
        return self


class Comparison(Record):
    """`comparison.json`: the federated model beside central and local-only training."""

    models: Annotated[tuple[ModelRecord, ...], Field(min_length=1)]
    seeds: tuple[int, ...]

    @model_validator(mode="after")
    def _names_each_model_once(self) -> Self:
        names = [model.name for model in self.models]
        kinds = [model.kind for model in self.models]
        if len(set(names)) < len(names):
            raise ValueError("two models have the same name")
        if kinds.count("federated") != 1 or kinds.count("central") > 1:
            raise ValueError("one federated model and at most one central model are compared")
        return self


def read_run(run: Path) -> RunRecord:
    """Read `run.json` in the folder `run`.

    Raises:
        InputRefusedError: it is missing or not such a file.
    """
    return _parse(RunRecord, _text(run / RUN_FILE), where=str(run / RUN_FILE))


def read_rounds(run: Path) -> tuple[RoundRecord, ...]:
    """Read `rounds.jsonl` in the folder `run`, oldest round first.

    Raises:
        InputRefusedError: it is missing, holds no round, is cut off, or its rounds are out of order.
    """
    path = run / ROUNDS_FILE
    text = _text(path).removesuffix("\n")
    if not text.strip():
        raise InputRefusedError(f"{path} holds no finished round; wait for the first round to end")
    rounds = tuple(
        _parse(RoundRecord, _whole(line, path, number), where=f"{path} line {number}")
        for number, line in enumerate(text.split("\n"), start=1)
    )
    numbers = [record.round for record in rounds]
    if numbers != sorted(set(numbers)):
        raise InputRefusedError(
            f"{path}: a round appears twice or out of order; run again with --resume to write it anew"
        )
    return rounds


def read_comparison(run: Path) -> Comparison | None:
    """Read `comparison.json` in the folder `run`; None where nothing was compared.

    Raises:
        InputRefusedError: it is there, but not such a file.
    """
    path = run / COMPARISON_FILE
    return _parse(Comparison, _text(path), where=str(path)) if path.exists() else None


_R = TypeVar("_R", bound=Record)


def _text(path: Path) -> str:
    try:
        return read_regular_text(path)
    except FileNotFoundError:
        raise InputRefusedError(f"{path} does not exist; name the --out folder of a run") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputRefusedError(
            f"{path} cannot be read ({type(error).__name__}); name the --out folder of a run"
        ) from None


def _whole(line: str, path: Path, number: int) -> str:
    try:
        json.loads(line)
    except json.JSONDecodeError:
        raise InputRefusedError(
            f"{path} line {number} is cut off or no JSON; run again with --resume, or delete that line"
        ) from None
    return line


def _parse(kind: type[_R], text: str, *, where: str) -> _R:
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        at = ".".join(str(part) for part in first["loc"])
        what = f"{at}: {first['msg']}" if at else first["msg"]
        raise InputRefusedError(
            f"{where} is not what this version writes ({' '.join(what.split())}); "
            "run again with --resume to write it anew"
        ) from None
