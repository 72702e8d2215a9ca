import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tomli_w
from ingest_samples import hospital
from tiny import settings

from client.cli import main
from common.spec.run import read_spec
from common.store import Store


@pytest.fixture(scope="module")
def lakeside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `dicom`, `reports.csv`, the site's `home` and the finished `store`."""
    folder = tmp_path_factory.mktemp("lakeside")
    dicom, reports = hospital(folder)
    with pytest.MonkeyPatch.context() as patch:
        arguments = ["--dicom", dicom, "--reports", reports, "--store", folder / "store"]
        arguments += [
            "--name",
            "lakeside",
            "--image-size",
            "16",
            "--burned-in",
            "keep",
            "--home",
            folder / "home",
            "--workers",
            "1",
        ]
        assert run(patch, "ingest", *arguments) == 0
    return folder


def run(patch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run `fedvlp-site` and return its exit code."""
    patch.setattr("sys.argv", ["fedvlp-site", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_ingest_tells_where_everything_went(
    lakeside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FEDVLP_HOME", str(lakeside / "home"))
    store = tmp_path / "store"
    arguments = ["--dicom", lakeside / "dicom", "--name", "lakeside", "--store", store, "--image-size", "16"]
    arguments += ["--burned-in", "keep"]
    assert run(monkeypatch, "ingest", *arguments, "--reports", lakeside / "reports.csv") == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines() == [
        "lakeside: 6 pairs, 6 images without a report, 1 report without an image, "
        f"2 files refused (not_dicom 1, truncated 1), 0 identifiers scrubbed in {store}"
    ]
    assert "ingest lakeside: 14/14 files, " in shown.err
    assert Store(store).digest() == Store(lakeside / "store").digest()


def test_several_report_files_may_follow_one_option(
    lakeside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (lakeside / "reports.csv").read_text().splitlines(keepends=True)
    halves = tmp_path / "1.csv", tmp_path / "2.csv"
    halves[0].write_text("".join(lines[:3]))
    halves[1].write_text("".join([lines[0], *lines[3:]]))
    arguments = ["--dicom", lakeside / "dicom", "--reports", *halves, "--store", tmp_path / "store"]
    arguments += [
        "--name",
        "lakeside",
        "--image-size",
        "16",
        "--burned-in",
        "keep",
        "--home",
        lakeside / "home",
    ]
    assert run(monkeypatch, "ingest", *arguments) == 0
    assert capsys.readouterr().out.startswith("lakeside: 6 pairs")
    assert Store(tmp_path / "store").digest() == Store(lakeside / "store").digest()


def test_show_counts_what_the_store_holds(
    lakeside: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "show", lakeside / "store", "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["rows"], summary["images"], summary["pairs"], summary["patients"]) == (13, 12, 6, 7)
    assert sum(summary["rows_by_split"].values()) == 13
    assert sum(summary["patients_by_split"].values()) == 7
    assert summary["rows_by_modality"] == {"CT": 12, "not given": 1}
    assert summary["report_words"] == {"reports": 7, "shortest": 4, "median": 5, "longest": 5}
    assert summary["rejected"] == {"not_dicom": 1, "truncated": 1}

    assert run(monkeypatch, "show", lakeside / "store") == 0
    shown = capsys.readouterr().out
    assert "13 (6 pairs, 12 images, 7 reports)" in shown
    assert "14 (12 image files, 0 report files, 2 refused)" in shown
    assert "7 (6 paired, 1 without an image, 0 refused)" in shown


def test_label_tells_how_many_rows_it_matched(
    lakeside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = shutil.copytree(lakeside / "store", tmp_path / "store")
    truth = tmp_path / "truth.csv"
    truth.write_text("sop_instance_uid,nodule,side\n1.2.0.0,1,left\n1.2.1.0,0,\n9.9,1,left\n")
    arguments = ["--store", store, "--truth", truth, "--home", lakeside / "home", "--column", "nodule"]
    assert run(monkeypatch, "label", *arguments) == 0
    assert capsys.readouterr().out == (
        "lakeside: 2 of 13 rows labelled (nodule); 1 line of truth.csv without a row\n"
    )


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"--dicom": "absent"}, 2, "is not a folder"),
        ({"--dicom": "home"}, 3, "no image under"),
        ({"--image-size": "15"}, 2, "outside 16 to 1024"),
        ({"--spec": "spec.toml"}, 2, "leave out --image-size and --burned-in"),
        ({"--reports": "absent.csv"}, 2, "No such file"),
        ({"--store": "reports.csv"}, 2, "is a file"),
        ({"--store": "home"}, 2, "exists and is not a store"),
        ({"--map": "report=text"}, 2, "no column 'text'"),
        ({"--train-share": "2"}, 2, "do not fit into 1"),
        ({"--name": "lake side"}, 2, "name 'lake side'"),
    ],
)
def test_a_mistake_is_one_line_and_the_contract_s_exit_code(
    lakeside: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, str],
    code: int,
    words: str,
) -> None:
    monkeypatch.chdir(lakeside)
    usual = {"--dicom": "dicom", "--reports": "reports.csv", "--store": str(tmp_path / "new"), "--name": "x"}
    usual |= {"--burned-in": "mask"}
    arguments = [part for pair in (usual | {"--home": "home"} | changes).items() for part in pair]
    before = {path: path.stat().st_mtime_ns for path in sorted(lakeside.rglob("*"))}
    assert run(monkeypatch, "ingest", *arguments) == code
    shown = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("ingest ")]
    assert len(shown) == 1
    assert shown[0].startswith("fedvlp-site: ")
    assert words in shown[0]
    assert "MRN" not in shown[0]
    assert before == {path: path.stat().st_mtime_ns for path in sorted(lakeside.rglob("*"))}
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("command", [["show", "dicom"], ["label", "--store", "dicom", "--truth", "x.csv"]])
def test_a_folder_that_is_no_store_is_said_plainly(
    lakeside: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
) -> None:
    monkeypatch.chdir(lakeside)
    assert run(monkeypatch, *command) == 3
    assert "is not a store" in capsys.readouterr().err


def test_what_becomes_of_text_in_the_pixels_must_be_said(
    lakeside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--dicom", lakeside / "dicom", "--store", tmp_path / "new", "--name", "x"]
    assert run(monkeypatch, "ingest", *arguments, "--home", lakeside / "home") == 2
    assert "--burned-in mask, mask-all, reject or keep" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_spec_says_how_images_are_prepared(
    lakeside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = settings(model__image_size=24, data__images={"burned_in": "keep", "ct_windows": ["lung", "bone"]})
    spec = tmp_path / "spec.toml"
    spec.write_bytes(tomli_w.dumps(told).encode())
    arguments = ["--dicom", lakeside / "dicom", "--store", tmp_path / "new", "--name", "x", "--spec", spec]
    arguments += ["--home", lakeside / "home", "--workers", 1]
    assert run(monkeypatch, "ingest", *arguments) == 0
    made = Store(tmp_path / "new")
    assert made.manifest.preparation == read_spec(spec).preparation
    assert made.images.shape[1:] == (2, 24, 24)


def test_the_command_starts_without_torch() -> None:
    """Nor do the workers of ingest, who import it anew: it would take 200 MiB of each."""
    program = "import sys, client.cli; assert not {'torch', 'flwr', 'transformers'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=300)
