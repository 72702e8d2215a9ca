"""Damaged files never make a reader raise or hang, and never cost a neighbour.

1,500 images and 600 files of reports, or FEDVLP_FUZZ_FILES of each; FEDVLP_FUZZ_SEED damages them otherwise.
"""

import os
import struct
from pathlib import Path

import numpy as np
import pytest
from fuzz import PREPARATIONS, damaged_image, damaged_report, run, whole_with_tables
from ingest_samples import dataset, ramp
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGLSNearLossless, RLELossless
from shelved import open_reports

from client.ingest.images import read_images
from client.ingest.rejected import Reason

SEED = int(os.environ.get("FEDVLP_FUZZ_SEED", "0"))
USUAL_FILES = {"image": 1500, "report": 600}


@pytest.mark.slow
@pytest.mark.parametrize("kind", USUAL_FILES)
def test_damage_ends_in_a_value_or_a_reason_and_costs_no_neighbour(kind: str) -> None:
    tally = run(kind, files=int(os.environ.get("FEDVLP_FUZZ_FILES", USUAL_FILES[kind])), seed=SEED)
    assert tally.raised == []
    assert tally.lost_neighbours == 0
    assert sum(tally.outcomes.values()) == tally.files
    assert tally.outcomes["image" if kind == "image" else "reports"] > tally.files / 20
    assert len(tally.outcomes | tally.reports_refused) > 3


@pytest.mark.parametrize("make", [damaged_image, damaged_report])
def test_damage_is_the_same_for_the_same_seed_and_differs_by_number(make) -> None:  # type: ignore[no-untyped-def]
    files = [make(number, 7) for number in range(20)]
    assert files == [make(number, 7) for number in range(20)]
    assert len({content for _, content in files}) > 15


def test_a_sequence_that_never_ends_is_a_truncated_file_not_an_unreadable_one(tmp_path: Path) -> None:
    whole = whole_with_tables()
    length = whole.index(b"\x28\x00\x00\x30SQ") + 8
    path = tmp_path / "endless.dcm"
    path.write_bytes(whole[:length] + b"\xff\xff\xff\xff" + whole[length + 4 :])
    assert read_images(path, PREPARATIONS[0]) is Reason.TRUNCATED


@pytest.mark.parametrize("packet", [b"\x7f" + bytes(128), b"\x81\0"], ids=["literal", "replicate"])
def test_run_lengths_that_outrun_their_picture_are_undecodable(tmp_path: Path, packet: bytes) -> None:
    made = dataset(np.zeros((16, 10), np.uint16), syntax=RLELossless)
    header = struct.pack("<16L", 2, 64, 64 + 2 * len(packet), *[0] * 13)
    made.PixelData = encapsulate([header + packet * 2 * 2])  # both segments tell 256 bytes, of 160
    made.save_as(tmp_path / "long.dcm", enforce_file_format=True)
    assert read_images(tmp_path / "long.dcm", PREPARATIONS[0]) is Reason.UNDECODABLE


@pytest.mark.parametrize(
    ("rows", "columns", "reason"),
    [(65535, 65535, Reason.TOO_LARGE), (48, 49, Reason.UNDECODABLE), (0, 48, Reason.UNDECODABLE)],
)
def test_a_near_lossless_stream_of_another_size_is_not_decoded(
    tmp_path: Path, rows: int, columns: int, reason: Reason
) -> None:
    made = dataset(ramp(white=4095))
    made.compress(JPEGLSNearLossless, jls_error=3, generate_instance_uid=False)
    place = made.PixelData.index(b"\xff\xf7") + 5  # the marker, a length, the bits of a sample
    made.PixelData = made.PixelData[:place] + struct.pack(">HH", rows, columns) + made.PixelData[place + 4 :]
    made.save_as(tmp_path / "other.dcm", enforce_file_format=True)
    assert read_images(tmp_path / "other.dcm", PREPARATIONS[0]) is reason


def test_a_report_whose_class_has_the_type_of_a_number_is_malformed(tmp_path: Path) -> None:
    whole = whole_with_tables()
    place = whole.index(b"\x08\x00\x16\x00UI") + 4
    path = tmp_path / "report.dcm"
    path.write_bytes(whole[:place] + b"FD" + whole[place + 2 :])
    opened = open_reports(path, format_name="sr")
    assert [refusal.reason for refusal in opened.refusals] == [Reason.MALFORMED_REPORT]
