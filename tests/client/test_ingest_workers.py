"""Reading in worker processes, with real faults in real processes."""

import os
import pickle
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
import pytest
from faulty_readers import BIG, confinement, hungry, poison, process_id, read, refuse_to_start
from numpy.testing import assert_array_equal

from client.ingest.answers import read_answer, write_answer
from client.ingest.confinement import Limits
from client.ingest.rejected import Reason
from client.ingest.workers import AHEAD, read_all

BRIEF = Limits(memory_bytes=256 << 20, cpu_seconds=1, wall_seconds=20)

FAULTS = {
    "segfault": Reason.DECODER_CRASHED,
    "abort": Reason.DECODER_CRASHED,
    "exit": Reason.DECODER_CRASHED,
    "raise": Reason.DECODER_CRASHED,
    "panic": Reason.DECODER_CRASHED,
    "deep": Reason.DECODER_CRASHED,
    "memory": Reason.DECODER_OUT_OF_MEMORY,
    "killed": Reason.DECODER_OUT_OF_MEMORY,
    "loop": Reason.DECODER_TIMED_OUT,
    "close": Reason.DECODER_CRASHED,
}


def expected(path: Path) -> str:
    return FAULTS.get(path.name.split("-")[0], path.name)


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_the_order_of_the_paths(workers: int) -> None:
    paths = [Path(f"{number}") for number in range(200)]
    assert list(read_all(paths, read, workers=workers)) == [path.name for path in paths]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_costs_its_own_file_only_and_its_neighbours_are_read_once(fault: str, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a", fault, *"bcdefgh", f"{fault}-last")]
    assert list(read_all(paths, read, workers=2, limits=BRIEF)) == [expected(path) for path in paths]
    reads = Counter(entry.name.split(".")[0] for entry in tmp_path.iterdir())
    assert all(reads[name] == 1 for name in "abcdefgh")
    assert reads[fault] <= 2


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_order_survives_any_mixture_of_faults(seed: int) -> None:
    chance = random.Random(seed)
    names = [*FAULTS, *["fine"] * 40]
    names.remove("loop")
    names.remove("close")
    paths = [Path(f"{chance.choice(names)}-{number}") for number in range(50)]
    workers = chance.choice([1, 2, 5])
    assert list(read_all(paths, read, workers=workers, limits=BRIEF)) == [expected(path) for path in paths]


@pytest.mark.slow
def test_what_waits_without_computing_times_out_by_the_clock_on_the_wall() -> None:
    limits = Limits(wall_seconds=2)
    outcome = list(read_all([Path("a"), Path("sleep"), Path("b")], read, workers=1, limits=limits))
    assert outcome == ["a", Reason.DECODER_TIMED_OUT, "b"]


def test_a_file_does_not_pay_for_the_one_before_it() -> None:
    paths = [Path(name) for name in ("poison", "a", "b", "poison", "c")]
    assert list(read_all(paths, poison, workers=1)) == [path.name for path in paths]


def test_a_result_larger_than_a_pipe_comes_whole() -> None:
    paths = [Path(name) for name in ("a", "big", "b", "big")]
    seen = list(read_all(paths, hungry, workers=2))
    assert [seen[0], seen[2]] == ["a", "b"]
    assert seen[1] == seen[3] == b"big" * BIG


def test_no_more_files_are_read_than_may_wait_for_their_turn(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}" for number in range(500)]
    results = read_all(paths, read, workers=2)
    assert next(results) == "0"
    time.sleep(0.5)
    assert len([*tmp_path.iterdir()]) <= 2 * AHEAD
    results.close()


def test_a_worker_that_has_read_enough_is_replaced() -> None:
    paths = [Path(f"{number}") for number in range(6)]
    processes = list(read_all(paths, process_id, workers=1, limits=Limits(files=2)))
    assert processes[0::2] == processes[1::2]
    assert len({*processes}) == 3


def test_nothing_to_read_yields_nothing() -> None:
    assert list(read_all([], read, workers=2)) == []


def test_workers_that_cannot_start_are_no_endless_loop() -> None:
    class Unreadable:
        def __call__(self, path: Path) -> str:
            return path.name

        def __reduce__(self) -> tuple[object, ...]:
            return refuse_to_start, ()

    with pytest.raises(ChildProcessError, match="can be started"):
        list(read_all([Path("a")], Unreadable(), workers=1))


# --- what a worker may not do ------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="the table in client.ingest.confinement says what is on")
def test_a_worker_cannot_talk_write_or_start_programs(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (found,) = read_all([tmp_path / "a"], confinement, workers=1)
    assert found == {
        "core": 0,
        "output": True,
        "oom_score": "1000",
        "socket": "Operation not permitted",
        "program": "Operation not permitted",
        "file": "File too large",
    }
    assert capfd.readouterr() == ("", "")


PARENT = """
import signal
import sys
from pathlib import Path
from client.ingest.workers import read_all
from faulty_readers import read

# A shell that runs tests in the background has them, and what they start, ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)

if __name__ == "__main__":
    paths = [Path(sys.argv[1], f"{how}-{n}") for n in range(6) for how in ("loop", "sleep")]
    list(read_all(paths, read, workers=3))
"""


@pytest.mark.slow
@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_no_worker_outlives_its_parent(tmp_path: Path, by: signal.Signals) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    folder = tmp_path / "files"
    folder.mkdir()
    paths = os.pathsep.join([str(Path(__file__).parents[2]), str(Path(__file__).parent)])
    parent = subprocess.Popen(
        [sys.executable, str(script), str(folder)],
        env={**os.environ, "PYTHONPATH": paths},
        stderr=subprocess.DEVNULL,
    )
    wait_for(lambda: len([*folder.iterdir()]) >= 3, seconds=60)
    workers = [psutil.Process(int(entry.name.split(".")[1])) for entry in folder.iterdir()]
    parent.send_signal(by)
    parent.wait(20)
    wait_for(lambda: not any(alive(process) for process in workers), seconds=10)


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for(condition, *, seconds: float) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


# --- what a worker may say ---------------------------------------------------------------------------------


def test_values_arrays_and_our_own_types_travel() -> None:
    answer = {"array": np.arange(6, dtype=np.int16).reshape(2, 3), "limits": BRIEF, "reason": Reason.NO_STUDY}
    read_back = read_answer(write_answer(answer))
    assert_array_equal(read_back.pop("array"), answer.pop("array"))
    assert read_back == answer


class Forged:
    def __init__(self, *call: object) -> None:
        self.call = call

    def __reduce__(self) -> tuple[object, ...]:
        return self.call[0], tuple(self.call[1:])


@pytest.mark.parametrize(
    "forged",
    [
        pickle.dumps(Forged(os.system, "true")),
        pickle.dumps(Forged(eval, "1")),
        pickle.dumps(Forged(read_all, [], read)),
        pickle.dumps(Forged(getattr, Limits, "__init__")),
        b"cclient.ingest.build\nos.system\n(Vtrue\ntR.",
        b"\x80\x05" + b"garbage",
        b"",
    ],
)
def test_a_forged_answer_calls_nothing_and_is_a_crash(forged: bytes) -> None:
    assert read_answer(forged) is Reason.DECODER_CRASHED
