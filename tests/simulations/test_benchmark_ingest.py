"""The ingest benchmark measures what it says, and says what it missed."""

import json
from pathlib import Path

import pytest
from pydicom import dcmread
from typer.testing import CliRunner

from client.ingest.images import Picture, read_images
from common.errors import WithheldError
from common.imaging.preparation import Preparation
from simulations.benchmarks.cli import bench, ingest_table
from simulations.benchmarks.fresh import run_watched
from simulations.benchmarks.ingest import IngestSpeed, SyntaxSpeed, peak_of_reports
from simulations.benchmarks.radiographs import SYNTAXES, writable, write_radiographs

MEBIBYTE = 1 << 20
HOLD = "import sys, time; block = bytearray(int(sys.argv[1]) << 20); time.sleep(float(sys.argv[2]))"
PARENT = (
    f"import subprocess, sys; subprocess.run([sys.executable, '-c', {HOLD!r}, *sys.argv[1:]], check=True)"
)


def test_radiographs_are_the_same_bytes_every_time_each_in_its_syntax_and_another_picture(
    tmp_path: Path,
) -> None:
    for name in writable():
        first, second = (
            write_radiographs(tmp_path / run / name, name, images=2, side=40) for run in ("a", "b")
        )
        assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
        assert dcmread(first[0]).file_meta.TransferSyntaxUID == SYNTAXES[name]
        pictures = [read_images(path, Preparation(image_size=32, burned_in="keep")) for path in first]
        assert all(isinstance(picture, Picture) for picture in pictures)
        assert (pictures[0].frames != pictures[1].frames).any()  # type: ignore[union-attr]


def test_the_watched_peak_is_that_of_all_processes_together(tmp_path: Path) -> None:
    little = run_watched(PARENT, ["1", "0.5"], log=tmp_path / "little")
    much = run_watched(PARENT, ["101", "0.5"], log=tmp_path / "much")
    assert much - little == pytest.approx(100 * MEBIBYTE, rel=0.1)


def test_a_watched_process_that_fails_is_told_by_its_last_line(tmp_path: Path) -> None:
    with pytest.raises(WithheldError, match="ended with 1: ValueError: no room"):
        run_watched("raise ValueError('no room')", [], log=tmp_path / "log")


def test_the_table_says_what_was_missed_and_what_reading_in_full_takes() -> None:
    speed = IngestSpeed(
        images=1,
        side=2048,
        image_size=224,
        syntaxes=(
            SyntaxSpeed("rle", 4.0, 1.0, 1.0, 0.1, 0.5),
            SyntaxSpeed("jpeg-2000", 8.0, 9.0, 11.0, 0.1, 7.5),
        ),
        left_out=("jpeg-ls",),
        cores=2,
        one_worker=1.0,
        all_cores=2.0,
        store_batch=0.1,
        again=1.0,
        files=(10, 100),
        peak_bytes=(100 * MEBIBYTE, 105 * MEBIBYTE),
        rows=(1000, 10000),
        rows_peak_bytes=(100 * MEBIBYTE, 120 * MEBIBYTE),
    )
    assert str(ingest_table(speed).caption).splitlines() == [
        "✗ all: ours / plain loop = 1.20 (goal 1.5)",
        "read in full size 1.00; pydicom's decoding alone 1.50",
        "1.0 images/s with one worker, 2.0 with 2",
        "✗ store / decoding again = 10 (goal 20)",
        "✓ peak of 100 / of 10 files = 1.050 (goal 1.10), 105 MiB",
        "✗ peak of 10000 / of 1000 reports = 1.200 (goal 1.10), 120 MiB",
        "no encoder here for jpeg-ls",
    ]


@pytest.mark.slow
def test_ingest_is_measured_to_the_end() -> None:
    words = ["ingest", "--images", "1", "--side", "64", "--image-size", "32"]
    words += ["--few-files", "4", "--many-files", "8", "--few-rows", "10", "--many-rows", "20", "--json"]
    said = json.loads(CliRunner().invoke(bench, words, catch_exceptions=False).stdout)
    assert set(said["cpu_seconds_per_image"]) | set(said["left_out"]) == set(SYNTAXES)
    for one in said["cpu_seconds_per_image"].values():
        assert one["ratio"] == pytest.approx(one["plain"] / one["ours"])
        assert one["ratio_in_full"] == pytest.approx(one["plain"] / one["ours_in_full"])
        assert one["header_and_decode"] > one["header"] > 0
    assert said["store_ratio"] > 1
    assert said["memory_growth"] == pytest.approx(said["memory_peak_bytes"][1] / said["memory_peak_bytes"][0])


@pytest.mark.slow
def test_memory_does_not_grow_with_a_table_of_reports(tmp_path: Path) -> None:
    short, long = (peak_of_reports(tmp_path, rows) for rows in (4_000, 40_000))
    assert long < 1.15 * short
