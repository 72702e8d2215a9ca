"""How a model answers every question for every held-out image, on disc: `answers.parquet`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from common.errors import InputRefusedError
from common.evaluation.zero_shot import ZeroShotTask
from common.files import whole_path
from common.store import read_parquet

ANSWERS_FILE = "answers.parquet"


def write_answers(path: Path, judged: Sequence[ZeroShotTask]) -> None:
    """Write the questions that have images of both answers.

    Raises:
        InputRefusedError: there is none.
    """
    tasks = [task for task in judged if task.positives and task.negatives]
    if not tasks:
        raise InputRefusedError(
            "no question has held-out images of both answers: add [[evaluation.zero_shot]] to the spec, "
            "and labels to the stores with fedvlp-site label"
        )
    table = pa.table(
        {
            "task": [task.name for task in tasks for _ in task.scores],
            "patient": np.concatenate([task.patients for task in tasks]).astype(str),
            "score": np.concatenate([task.scores for task in tasks]),
            "truth": np.concatenate([task.truth for task in tasks]),
        }
    )
    with whole_path(path) as unfinished:
        pq.write_table(table, unfinished)


def read_answers(path: Path) -> tuple[ZeroShotTask, ...]:
    """The questions in the order in which they were written."""
    table = read_parquet(path)
    name, patient, score, truth = (
        table.column(key).to_numpy() for key in ("task", "patient", "score", "truth")
    )
    return tuple(
        ZeroShotTask(task, score[name == task], truth[name == task], patient[name == task].astype(object))
        for task in dict.fromkeys(name.tolist())
    )
