import logging
import os
import sys
from pathlib import Path

import pytest

from simulations.workers import FORKS, worker_pool


def is_imported(module: str) -> bool:
    return module in sys.modules


def parent_of_worker() -> int:
    return os.getppid()


def log_a_line(line: str) -> None:
    logging.getLogger("fedvlp").warning(line)


@pytest.mark.skipif(not FORKS, reason="this system starts every worker from nothing")
@pytest.mark.slow  # torch is imported once in a process of its own
def test_workers_are_forked_from_one_process_that_has_imported_torch() -> None:
    with worker_pool(1) as one, worker_pool(1) as two:
        assert one.submit(is_imported, "torch._dynamo").result()
        parents = {pool.submit(parent_of_worker).result() for pool in (one, two)}
        assert len(parents) == 1
        assert parents != {os.getpid()}


@pytest.mark.slow  # as above
def test_workers_log_to_the_file_they_are_given(tmp_path: Path) -> None:
    with worker_pool(1, log=tmp_path / "run.log") as pool:
        pool.submit(log_a_line, "site refused").result()
    assert "WARNING" in (tmp_path / "run.log").read_text()
    assert "site refused" in (tmp_path / "run.log").read_text()
