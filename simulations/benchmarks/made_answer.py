"""An answer that no hospital gave, kept on disc as the objects that Flower sends."""

import json
import shutil
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents

from common.messages import Answer
from common.project import Project
from common.update import pack, sum_names

SMALLEST_STEP, LARGEST_STEP = -50, 51
ROOTS = "roots.json"
"""Names the object ids of an answer's arrays: record -> array -> id."""


def made_answer(project: Project) -> Answer:
    """Small random steps of every coordinate, and the largest weight."""
    coordinates = project.layout.num_coordinates
    steps = np.random.default_rng(0).integers(SMALLEST_STEP, LARGEST_STEP, coordinates, dtype=np.int16)
    names = sum_names(project.spec.objectives.names)
    sums = np.zeros(len(names), dtype=np.uint64)
    sums[names.index("weight")] = project.spec.federation.weight_cap
    return Answer(round=0, project="", model="", planes=pack(steps, project.profile), sums=sums)


def write_answer(folder: Path, answer: Answer) -> None:
    """Keep the arrays of `answer` in `folder`, in place of others: a file per object, named by its id."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    roots: dict[str, dict[str, str]] = {}
    for name, record in answer.to_records().items():
        if not isinstance(record, ArrayRecord):
            continue
        roots[name] = {key: array.object_id for key, array in record.items()}
        for array in record.values():
            for identity, thing in get_all_nested_objects(array).items():
                (folder / identity).write_bytes(thing.deflate())
    (folder / ROOTS).write_text(json.dumps(roots))


def read_arrays(folder: Path) -> dict[str, ArrayRecord]:
    """The arrays in `folder`, put together as Flower's own `HttpGrid` does it."""
    roots = json.loads((folder / ROOTS).read_text())
    contents = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ROOTS}
    return {
        name: ArrayRecord({key: _array(root, contents) for key, root in arrays.items()})
        for name, arrays in roots.items()
    }


def _array(root: str, contents: dict[str, bytes]) -> Array:
    array = inflate_object_from_contents(root, contents)
    assert isinstance(array, Array)
    return array
