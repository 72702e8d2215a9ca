"""One process holds a lock at a time; it is private, names its holder, and is free after a kill."""

import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import ConfigurationError
from common.lock_file import held_alone

HOLD = """
import sys, time
from pathlib import Path
from common.lock_file import held_alone
with held_alone(Path(sys.argv[1]), refusal=""):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_that_another_process_holds_is_refused_by_its_name_and_free_once_it_was_killed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "run" / "lock"
    root = str(Path(__file__).parents[2])
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, cwd=root)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with (
            pytest.raises(ConfigurationError, match=f"^held by {holder.pid}$"),
            held_alone(path, refusal="held by {holder}"),
        ):
            pass
        assert path.stat().st_mode & 0o077 == 0
    finally:
        holder.kill()
        holder.communicate()
    with held_alone(path, refusal="held by {holder}"):
        pass


def test_a_lock_is_free_after_its_block_even_if_that_failed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="inside"), held_alone(tmp_path / "lock", refusal=""):
        raise ValueError("inside")
    with held_alone(tmp_path / "lock", refusal="still held"):
        pass
