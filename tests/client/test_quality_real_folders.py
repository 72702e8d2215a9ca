"""A real hospital's radiographs, as they are and with some of them turned or inverted."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from client.cli import cli
from client.ingest.quality import require_quality
from client.ingest.quality.fingerprints import fingerprints
from client.ingest.quality.measure import measure
from client.ingest.quality.orientation import Position, suspects_of
from common.spec.quality import QualitySpec
from common.store import Images, Store

FOLDER = Path(__file__).parents[2].parent / "shared" / "data" / "hospitals" / "north-general"

pytestmark = [
    pytest.mark.skipif(not FOLDER.is_dir(), reason="no real hospital folders in ../shared/data"),
    pytest.mark.slow,
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("north")
    arguments = ["--dicom", FOLDER / "dicom", "--reports", FOLDER / "reports.csv", "--name", "north-general"]
    arguments += ["--store", folder / "store", "--home", folder / "home", "--burned-in", "keep"]
    answer = CliRunner().invoke(cli, ["ingest", *map(str, arguments)])
    assert answer.exit_code == 0, answer.output
    return Store(folder / "store")


def test_a_real_hospital_is_fit_to_train_on(store: Store) -> None:
    require_quality(store, QualitySpec())
    quality = measure(store)
    assert quality.stages.images == quality.stages.files_decoded == quality.stages.pairs == 136
    assert quality.duplicates.same_picture_other_patient == 0
    assert quality.texts.languages == {"en": quality.texts.reports}


CHANGES: dict[Position, Callable[[Images], Images]] = {
    Position.INVERTED: lambda images: 255 - images,
    Position.UPSIDE_DOWN: lambda images: images[:, ::-1, ::-1],
    Position.LEFT: lambda images: np.rot90(images, 1, axes=(1, 2)),
    Position.RIGHT: lambda images: np.rot90(images, 3, axes=(1, 2)),
}


@pytest.mark.parametrize("position", CHANGES)
def test_most_of_the_changed_radiographs_are_found_with_few_false_alarms(
    store: Store, position: Position
) -> None:
    """Every picture is changed once, a twentieth at a time: the order of a store hangs on its secret."""
    kinds = list(zip(store.column("modality"), store.column("view"), strict=True))
    missed, alarms = 0, 0
    for start in range(20):
        images = np.array(store.images[:, 0])
        changed = set(range(start, len(images), 20))
        images[sorted(changed)] = CHANGES[position](images[sorted(changed)])
        found = suspects_of(fingerprints(images), kinds).keys()
        missed += len(changed - found)
        alarms += len(found - changed)
    assert missed <= 0.3 * len(store)
    assert alarms <= 20 * 0.03 * len(store)
