import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from quality_samples import ROWS, planted, repainted, reworded
from typer.testing import CliRunner

from client.cli import cli
from client.ingest.quality import measure as measuring
from client.ingest.quality import record as records
from client.ingest.quality import require_quality
from client.ingest.quality.figures import RECORD
from client.ingest.quality.gate import checks
from client.ingest.quality.measure import measure
from client.ingest.quality.record import Record, judged
from common.errors import ConfigurationError, InputRefusedError
from common.spec.quality import QualitySpec
from common.store import Store, write_store

STRICT = QualitySpec(min_pairs=ROWS + 1)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return planted(tmp_path / "lakeside")


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the stores that were measured, in order."""
    names: list[str] = []

    def counting(store: Store) -> object:
        names.append(store.name)
        return measure(store)

    monkeypatch.setattr(measuring, "measure", counting)
    return names


def test_a_store_is_measured_once_and_judged_by_whatever_thresholds(
    store: Store, measured: list[str]
) -> None:
    require_quality(store, QualitySpec())
    with pytest.raises(InputRefusedError):
        require_quality(Store(store.folder), STRICT)
    assert judged(store) == measure(store)
    assert measured == ["lakeside"]
    assert stat.S_IMODE((store.folder / RECORD).stat().st_mode) == 0o600


def test_a_refusal_is_one_line_that_says_which_figure_and_what_to_do(store: Store) -> None:
    with pytest.raises(InputRefusedError) as caught:
        require_quality(store, STRICT)
    assert str(caught.value) == (
        "store lakeside is not fit to train on: image-report pairs: 60, data.quality.min_pairs = 61; "
        "ingest more studies"
    )
    assert caught.value.outward == "store fails data.quality.min_pairs"
    assert caught.value.exit_code == 3


def _edited(store: Store, change: object) -> None:
    document = json.loads((store.folder / RECORD).read_text())
    assert callable(change)
    change(document)
    (store.folder / RECORD).write_text(json.dumps(document))


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document["quality"]["texts"].update(identifier_suspects={}),
        lambda document: document["quality"]["stages"].update(pairs=100_000),
        lambda document: document.update(checksum=""),
        lambda document: document.update(program="0" * 64),
        lambda document: document.update(inputs="0" * 64),
        lambda document: document.pop("quality"),
    ],
    ids=["suspects", "pairs", "checksum", "program", "inputs", "cut"],
)
def test_a_record_that_was_changed_is_measured_again(
    tmp_path: Path, change: object, measured: list[str]
) -> None:
    store = planted(tmp_path / "lakeside", reworded("Seen by Dr. Quintanilla."), at=range(5))
    truth = judged(store)
    _edited(store, change)
    assert judged(store) == truth
    assert measured == ["lakeside", "lakeside"]
    judged(store)
    assert len(measured) == 2


def test_a_record_of_other_source_is_measured_again_though_its_checksum_is_right(
    store: Store, measured: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    quality = judged(store)
    monkeypatch.setattr(records, "program", lambda: "f" * 64)
    assert judged(store) == quality
    assert len(measured) == 2
    kept = Record.model_validate_json((store.folder / RECORD).read_bytes())
    assert (kept.program, kept) == ("f" * 64, kept.sealed())


def test_a_known_store_is_judged_without_the_modules_that_measure(store: Store) -> None:
    """They take as long to import as a hundred stores to look up; every worker of a simulation would."""
    judged(store)
    looked_up = (
        "import sys; from pathlib import Path\n"
        "from client.ingest.quality.record import judged; from common.store import Store\n"
        "judged(Store(Path(sys.argv[1])))\n"
        "print(*(name for name in sys.modules if name.startswith(('client.ingest.quality.measure', "
        "'client.ingest.deidentify'))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", looked_up, store.folder], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def test_another_store_in_its_place_is_measured_again(tmp_path: Path, measured: list[str]) -> None:
    judged(planted(tmp_path))
    inverted = planted(tmp_path, repainted(lambda image: 255 - image), at=(0,))
    assert judged(inverted).images.positions == {"inverted": (0,)}
    assert len(measured) == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_to_is_judged_all_the_same(store: Store) -> None:
    store.folder.chmod(0o500)
    require_quality(store, QualitySpec())
    assert not (store.folder / RECORD).exists()


def test_a_full_disk_does_not_keep_a_site_from_judging(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object, **__: object) -> None:
        raise ConfigurationError("the disk is full")

    monkeypatch.setattr(records, "write_whole", full)
    require_quality(store, QualitySpec())
    assert "not kept" in caplog.text


@pytest.mark.parametrize("kind", ["images", "reports"])
def test_a_site_of_images_or_of_reports_alone_is_judged_by_what_it_has(
    tmp_path: Path, kind: str, store: Store
) -> None:
    from dataclasses import replace

    from quality_samples import rows

    half = [
        replace(row, sections={}) if kind == "images" else replace(row, image=None, instance="")
        for row in rows()
    ]
    write_store(tmp_path / kind, name=kind, preparation=store.manifest.preparation, rows=half)
    quality = measure(Store(tmp_path / kind))
    keys = {check.key for check in checks(quality, QualitySpec())}
    assert "min_pairing_rate" not in keys
    assert ("max_blank_share" in keys, "max_template_share" in keys) == (kind == "images", kind == "reports")
    require_quality(Store(tmp_path / kind), QualitySpec())


def test_an_empty_store_is_measured(tmp_path: Path, store: Store) -> None:
    write_store(tmp_path / "none", name="none", preparation=store.manifest.preparation, rows=[])
    assert judged(Store(tmp_path / "none")).stages.rows == 0


def test_the_command_writes_a_page_for_the_owner_alone_and_tells_the_verdict(store: Store) -> None:
    answer = CliRunner().invoke(cli, ["quality", str(store.folder)])
    page = store.folder / "quality.html"
    assert answer.exit_code == 0, answer.output
    assert "FAILED" not in answer.stdout
    assert str(page) in answer.stdout
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    text = page.read_text()
    assert "Stays in the hospital" in text
    assert "Fit to train" in text
    assert not re.search(r"""(?:src|href)=["'](?!data:)|url\(|<script|@import""", text)
    assert text.count("data:image/png;base64,") >= 24


def test_the_command_prints_json_and_fails_like_training(store: Store, tmp_path: Path) -> None:
    spec = tmp_path / "spec.toml"
    example = Path(__file__).parents[2] / "simulations" / "experiments" / "smoke.toml"
    spec.write_text(example.read_text() + "\n[data.quality]\nmin_pairs = 61\n")
    answer = CliRunner().invoke(cli, ["quality", str(store.folder), "--spec", str(spec), "--json"])
    assert isinstance(answer.exception, InputRefusedError)
    document = json.loads(answer.stdout)
    assert document["fit"] is False
    assert [check["key"] for check in document["checks"] if not check["passed"]] == ["min_pairs"]
    assert document["quality"]["stages"]["pairs"] == ROWS


def test_words_of_a_report_cannot_become_part_of_the_page(tmp_path: Path) -> None:
    store = planted(tmp_path, reworded("<script>alert(1)</script> by Dr. <b>Nobody</b>"), at=range(ROWS))
    CliRunner().invoke(cli, ["quality", str(store.folder)])
    text = (store.folder / "quality.html").read_text()
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
