import shutil
from pathlib import Path

import pytest
from ingest_samples import hospital, ramp
from PIL import Image

from client.ingest.build import Target, ingest
from client.ingest.pseudonyms import Pseudonyms
from client.ingest.survey import Source, survey
from client.ingest.truth import Truth, join_truth
from common.errors import ConfigurationError, InputRefusedError
from common.imaging.preparation import Preparation
from common.store import Store, write_labels

SECRET = Pseudonyms(b"s" * 32)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("truth")
    dicom, reports = hospital(folder, patients=3)
    target = Target(folder / "store", "lakeside", Preparation(image_size=16, burned_in="keep"))
    ingest(survey(Source(dicom, [reports]), target.store), target, SECRET, workers=1)
    return Store(folder / "store")


def join(store: Store, folder: Path, text: str, *columns: str) -> Truth:
    path = folder / "truth.csv"
    path.write_text(text)
    return join_truth(store, path, columns=columns, pseudonyms=SECRET)


def by_instance(store: Store, truth: Truth, column: str) -> dict[str, str]:
    instances = store.column("instance")
    return {instances[row["row"]]: row[column] for row in truth.labels.to_pylist()}


def test_labels_join_the_very_instance(store: Store, tmp_path: Path) -> None:
    lines = [f"1.2.{number}.{image},{number + image}" for number in range(3) for image in range(2)]
    truth = join(store, tmp_path, "sop_instance_uid,nodule\n" + "\n".join(lines) + "\n9.9,1\n")
    expected = {SECRET.instance(line.split(",")[0]): line.split(",")[1] for line in lines}
    assert by_instance(store, truth, "nodule") == expected
    assert truth.num_unmatched == 1
    assert truth.labels.column("row").to_pylist() == sorted(truth.labels.column("row").to_pylist())


def test_an_accession_labels_all_images_of_its_study(store: Store, tmp_path: Path) -> None:
    truth = join(store, tmp_path, "accession_number,side\nACC1,left\n")
    assert by_instance(store, truth, "side") == {
        SECRET.instance("1.2.1.0"): "left",
        SECRET.instance("1.2.1.1"): "left",
    }


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("pictures")
    for name in ("train/p1/s1/view1.png", "train/p1/s1/view2.png", "valid/p1/s1/view1.png"):
        (folder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(ramp()).save(folder / "images" / name)
    target = Target(folder / "store", "lakeside", Preparation(image_size=16, burned_in="keep"))
    found = survey(Source(folder / "images", folders=True), target.store)
    ingest(found, target, SECRET, workers=1)
    return Store(folder / "store")


@pytest.mark.parametrize("start", ["", "./", "CheXpert-v1.0/"])
def test_a_picture_is_labelled_by_its_path_and_no_other_of_that_name(
    pictures: Store, tmp_path: Path, start: str
) -> None:
    text = f"Path,accession_number,sex\n{start}train/p1/s1/view1.png,p1,F\n{start}elsewhere/view2.png,p1,M\n"
    truth = join(pictures, tmp_path, text, "sex")
    instance = SECRET.instance("file train/p1/s1/view1.png")
    assert (by_instance(pictures, truth, "sex"), truth.num_unmatched) == ({instance: "F"}, 1)


def test_paths_that_a_store_does_not_know_leave_the_accession(store: Store, tmp_path: Path) -> None:
    truth = join(store, tmp_path, "file_name,accession_number,side\nACC1/IM0.dcm,ACC1,left\n")
    assert set(by_instance(store, truth, "side")) == {
        SECRET.instance("1.2.1.0"),
        SECRET.instance("1.2.1.1"),
    }


def test_an_entry_of_a_json_column_is_addressed_by_a_dot(store: Store, tmp_path: Path) -> None:
    text = 'sop_instance_uid,labels\n1.2.0.0,"{""covid"": 1, ""found"": [""a"", ""b""], ""sure"": true}"\n'
    truth = join(store, tmp_path, text, "labels.covid", "labels.found", "labels.sure", "labels.none")
    row = truth.labels.to_pylist()[0]
    assert [row[name] for name in truth.labels.column_names[1:]] == ["1", "a;b", "true", ""]


def test_by_default_neither_identifiers_nor_json_are_taken(store: Store, tmp_path: Path) -> None:
    text = 'sop_instance_uid,file,accession,patient_id,view,labels\n1.2.0.0,a.dcm,ACC0,MRN0,PA,"{}"\n'
    assert join(store, tmp_path, text).labels.column_names == ["row", "view"]


@pytest.mark.parametrize(
    ("text", "columns", "error", "words"),
    [
        ("image,nodule\nx,1\n", (), ConfigurationError, "has none of sop_instance_uid, "),
        ("sop_instance_uid,nodule\n", (), InputRefusedError, "has no rows"),
        ("sop_instance_uid,nodule\n9.9,1\n", (), InputRefusedError, "--home"),
        ("sop_instance_uid,a\n1.2.0.0,1\n", ("b",), ConfigurationError, "is not there; choose from a"),
        ("sop_instance_uid,file\n1.2.0.0,x\n", ("file",), ConfigurationError, "identifies"),
        ("sop_instance_uid,a\n1.2.0.0,[1\n", ("a.b",), InputRefusedError, "not a JSON object"),
        ("sop_instance_uid,a\n1.2.0.0,1\n1.2.0.0,2\n", (), InputRefusedError, "truth.csv:3: other labels"),
        ("sop_instance_uid,a\n1.2.0.0\n", (), InputRefusedError, "truth.csv:2: more or fewer"),
    ],
)
def test_a_truth_file_that_cannot_be_right_is_refused(
    store: Store, tmp_path: Path, text: str, columns: tuple[str, ...], error: type[Exception], words: str
) -> None:
    with pytest.raises(error) as refusal:
        join(store, tmp_path, text, *columns)
    assert words in str(refusal.value)


def test_labels_are_read_back_from_the_store_and_its_content_stays(store: Store, tmp_path: Path) -> None:
    folder = shutil.copytree(store.folder, tmp_path / "store")
    write_labels(folder, join(store, tmp_path, "sop_instance_uid,nodule\n1.2.0.0,1\n").labels)
    labelled = Store(folder)
    labels = labelled.labels()
    assert labels is not None
    assert labels.column("nodule").to_pylist() == ["1"]
    assert labelled.digest() == store.digest()
