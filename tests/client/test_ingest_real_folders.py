"""Real hospital folders, where they are at hand."""

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from client.ingest.build import Source, Target, ingest, survey
from client.ingest.pseudonyms import Pseudonyms
from common.imaging.preparation import Preparation
from common.store import Store
from common.text.sections import merge_sections, parse_sections

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "hospitals"
IMAGES = {
    "spine-clinic": 251,
    "abdominal-centre": 539,
    "north-general": 136,
    "river-ct": 209,
    "public-bank": 280,
}
SECRET = Pseudonyms(b"s" * 32)

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="no real hospital folders in ../shared/data")


QUICK = ("north-general", "river-ct")


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in IMAGES],
)
def real(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Store:
    name = request.param
    store = tmp_path_factory.mktemp("real") / name
    source = Source(DATA / name / "dicom", [DATA / name / "reports.csv"])
    target = Target(store, name, Preparation(image_size=64, burned_in="keep"))
    ingest(survey(source, target), target, SECRET, workers=2)
    return Store(store)


def test_every_image_has_exactly_the_reports_that_name_it(real: Store) -> None:
    with (DATA / real.name / "reports.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    expected: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        for uid in row["sop_instance_uids"].split():
            expected[SECRET.instance(uid)].append(row["report"])
    found = dict(zip(real.column("instance"), real.sections(), strict=True))
    assert len(found) == len(real) == len(real.images) == IMAGES[real.name]
    assert found == {
        instance: merge_sections(map(parse_sections, texts)) for instance, texts in expected.items()
    }


def test_every_image_shows_something_and_chests_are_not_negatives(real: Store) -> None:
    assert (real.images.std(axis=(2, 3)) > 5).all()
    if real.name == "north-general":
        spine, border = real.images[:, 0, 24:40, 28:36], real.images[:, 0, 24:40, :2]
        assert np.mean(spine.mean((1, 2)) > border.mean((1, 2))) > 0.9
