import os
import subprocess
import sys
from pathlib import Path


def leave(*lines: str, **how: object) -> subprocess.CompletedProcess[str]:
    """A command that runs `lines` and leaves with 5."""
    program = "\n".join(["from common.leaving import leave", *lines, "leave(5)"])
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(
        [sys.executable, "-c", program], env=buffered, text=True, check=False, timeout=60, **how
    )


def test_the_code_is_that_of_the_contract_and_nothing_printed_is_lost() -> None:
    done = leave("import sys", "print('x' * 100_000, end='')", "print('err', end='', file=sys.stderr)",
                 capture_output=True)  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (5, "x" * 100_000, "err")


def test_threads_are_waited_for_and_exit_handlers_run(tmp_path: Path) -> None:
    lines = [
        "import atexit, pathlib, tempfile, threading, time",
        f"folder = pathlib.Path({str(tmp_path)!r})",
        "atexit.register((folder / 'handler').touch)",
        "threading.Thread(target=lambda: (time.sleep(0.3), (folder / 'thread').touch())).start()",
        "kept = tempfile.TemporaryDirectory(dir=folder, prefix='kept-')",
    ]
    assert leave(*lines, stderr=subprocess.DEVNULL).returncode == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["handler", "thread"]


def test_what_is_logged_is_flushed(tmp_path: Path) -> None:
    lines = [
        "import logging, logging.handlers",
        f"file = logging.FileHandler({str(tmp_path / 'log')!r})",
        "logging.getLogger().addHandler(logging.handlers.MemoryHandler(100, target=file))",
        "logging.getLogger().warning('kept')",
    ]
    assert leave(*lines).returncode == 5
    assert (tmp_path / "log").read_text() == "kept\n"


def test_objects_are_not_taken_apart() -> None:
    done = leave(
        "class Kept:",
        "    def __del__(self): print('taken apart', flush=True)",
        "kept = Kept()",
        stdout=subprocess.PIPE,
    )
    assert (done.returncode, done.stdout) == (5, "")


def test_output_that_nobody_takes_is_told_as_python_tells_it() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = leave("print('lost')", stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert done.returncode == 120
    assert "BrokenPipeError" in done.stderr


def test_whoever_runs_a_command_within_its_own_process_keeps_its_own_exit_code() -> None:
    """As a test does, or a notebook."""
    program = "\n".join(
        [
            "import sys",
            "from simulations.cli import main",
            "sys.argv = ['fedvlp-sim', 'run']",
            "try: main()",
            "except SystemExit as ended: assert ended.code == 2, ended.code",
            "sys.exit(7)",
        ]
    )
    done = subprocess.run([sys.executable, "-c", program], stderr=subprocess.DEVNULL, check=False, timeout=60)
    assert done.returncode == 7
