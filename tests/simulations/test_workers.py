import json
import subprocess
import sys
from pathlib import Path

import pytest

from simulations.workers import FORKS, worker_pool

FRESH = """
import gc, json, logging, os, sys
from pathlib import Path
from simulations.workers import worker_pool


def seen():
    left_alone = gc.get_freeze_count() > len(sys.modules)
    return "client.app" in sys.modules and "torch" in sys.modules and left_alone, os.getppid()


if __name__ == "__main__":
    with worker_pool(1) as one, worker_pool(1) as two:
        print(json.dumps([pool.submit(seen).result() for pool in (one, two)] + [os.getpid()]))
"""


def log_a_line(line: str) -> None:
    import logging

    logging.getLogger("fedvlp").warning(line)


@pytest.mark.skipif(not FORKS, reason="this system starts every worker from nothing")
@pytest.mark.slow  # torch is imported once in a process of its own
def test_workers_are_forked_from_one_process_that_imported_torch_and_whose_collector_leaves_it_alone(
    tmp_path: Path,
) -> None:
    """In a fresh process: a process has one fork server, and other tests may have begun one."""
    script = tmp_path / "fresh.py"
    script.write_text(FRESH)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    (imported, server), (also_imported, same_server), parent = json.loads(done.stdout)
    assert imported
    assert also_imported
    assert server == same_server != parent


@pytest.mark.slow  # as above
def test_workers_log_to_the_file_they_are_given(tmp_path: Path) -> None:
    with worker_pool(1, log=tmp_path / "run.log") as pool:
        pool.submit(log_a_line, "site refused").result()
    assert "WARNING" in (tmp_path / "run.log").read_text()
    assert "site refused" in (tmp_path / "run.log").read_text()
