import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from simulations.nursery import WorkerDiedError
from simulations.workers import WorkerPool

PATIENCE_SECONDS = 60

FORKED = """
import gc, json, os, sys

def seen():
    left_alone = gc.get_freeze_count() > len(sys.modules)
    return "client.app" in sys.modules and "torch" in sys.modules and left_alone, os.getppid(), MADE

if __name__ == "__main__":
    from simulations.nursery import fork_nursery
    from simulations.workers import WorkerPool

    MADE = "before the fork"
    fork_nursery()
    MADE = "after it"
    with WorkerPool(1) as one, WorkerPool(1) as two:
        print(json.dumps([pool.submit(seen).result() for pool in (one, two)] + [os.getpid()]))
"""

SLEEPING = """
import os, time

def sleep(file):
    with open(file, "w") as out:
        out.write(str(os.getpid()))
    time.sleep(600)

if __name__ == "__main__":
    import sys
    from simulations.nursery import fork_nursery
    from simulations.workers import WorkerPool

    fork_nursery()
    with WorkerPool(1) as pool:
        pool.submit(sleep, sys.argv[1]).result()
"""


class Model:
    """Something large; says how often it was sent."""

    arrived = 0

    def __init__(self) -> None:
        self.weights = [1.0]

    def __setstate__(self, state: dict) -> None:
        Model.arrived += 1


def arrived(model: Model, other: int) -> tuple[int, int]:
    assert isinstance(model, Model)
    return Model.arrived, other


def log_a_line(line: str) -> None:
    logging.getLogger("fedvlp").warning(line)


def refuse(word: str) -> None:
    raise ValueError(word)


def sleep_in(file: Path) -> None:
    file.write_text(str(os.getpid()))
    time.sleep(10 * PATIENCE_SECONDS)


def answer_with_a_lambda(number: int) -> object:
    return lambda: number


def number_in(file: Path) -> int:
    """The process that wrote its number to `file`, as soon as it did."""
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        if file.exists() and (written := file.read_text()):
            return int(written)
        time.sleep(0.02)
    raise AssertionError(f"nobody wrote to {file}")


def ends(number: int) -> bool:
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        if not psutil.pid_exists(number) or psutil.Process(number).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.slow  # torch is imported once in a process of its own, here and below
def test_workers_are_forked_from_the_command_that_imported_torch_as_it_was_then(tmp_path: Path) -> None:
    script = tmp_path / "fresh.py"
    script.write_text(FORKED)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    (imported, nursery, made), (also_imported, same_nursery, also_made), command = json.loads(done.stdout)
    assert imported
    assert also_imported
    assert nursery == same_nursery != command
    assert made == also_made == "before the fork"


@pytest.mark.slow
def test_workers_of_a_killed_command_end_with_it(tmp_path: Path) -> None:
    script, file = tmp_path / "sleeping.py", tmp_path / "number"
    script.write_text(SLEEPING)
    with subprocess.Popen([sys.executable, script, file]) as command:
        worker = number_in(file)
        nursery = psutil.Process(worker).ppid()
        command.kill()
    assert ends(worker)
    assert ends(nursery)


@pytest.mark.slow
def test_workers_log_to_the_file_they_are_given(tmp_path: Path) -> None:
    with WorkerPool(1, log=tmp_path / "run.log") as pool:
        pool.submit(log_a_line, "site refused").result()
    assert "WARNING worker-1: site refused" in (tmp_path / "run.log").read_text()


@pytest.mark.slow
def test_what_a_worker_raises_is_raised_and_says_where() -> None:
    with WorkerPool(1) as pool:
        with pytest.raises(ValueError, match="no") as caught:
            pool.submit(refuse, "no").result()
        assert "refuse" in caught.value.__notes__[0]
        assert pool.submit(os.getpid).result() != os.getpid()


@pytest.mark.slow
def test_a_first_argument_is_sent_once_for_as_long_as_it_is_the_same() -> None:
    one, other = Model(), Model()
    with WorkerPool(1) as pool:
        counts = [pool.submit(arrived, model, i).result() for i, model in enumerate([one, one, other, one])]
        assert counts == [(1, 0), (1, 1), (2, 2), (3, 3)]
        os.kill(pool.submit(os.getpid).result(), signal.SIGKILL)
        with pytest.raises(WorkerDiedError):
            pool.submit(arrived, one, 4).result()
        assert pool.submit(arrived, one, 5).result() == (1, 5)


@pytest.mark.slow
def test_a_call_at_which_the_worker_dies_fails_and_those_that_wait_find_another(tmp_path: Path) -> None:
    with WorkerPool(1) as pool:
        first = pool.submit(os.getpid).result()
        dying = pool.submit(sleep_in, tmp_path / "number")
        waiting = pool.submit(os.getpid)
        assert number_in(tmp_path / "number") == first
        os.kill(first, signal.SIGKILL)
        with pytest.raises(WorkerDiedError):
            dying.result()
        assert waiting.result() != first


@pytest.mark.slow
def test_an_answer_that_cannot_be_sent_fails_as_a_death_does() -> None:
    with WorkerPool(1) as pool:
        with pytest.raises(WorkerDiedError):
            pool.submit(answer_with_a_lambda, 1).result()
        assert pool.submit(os.getpid).result()


@pytest.mark.slow
def test_a_pool_that_is_closed_ends_its_workers_whatever_they_are_at(tmp_path: Path) -> None:
    with WorkerPool(2) as pool:
        busy = [pool.submit(sleep_in, tmp_path / str(number)) for number in range(2)]
        never = pool.submit(os.getpid)
        workers = [number_in(tmp_path / str(number)) for number in range(2)]
    assert all(ends(worker) for worker in workers)
    assert all(isinstance(call.exception(), WorkerDiedError) for call in busy)
    assert never.cancelled()


@pytest.mark.slow
def test_as_many_calls_are_answered_at_a_time_as_there_are_workers(tmp_path: Path) -> None:
    with WorkerPool(2) as pool:
        pool.submit(sleep_in, tmp_path / "number")
        busy = number_in(tmp_path / "number")
        others = {pool.submit(os.getpid).result() for _ in range(4)}
    assert len(others) == 1
    assert busy not in others
