"""Fresh processes, so that start-up counts and nothing of one measurement is left for the next."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from common.errors import WithheldError

QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "OMP_NUM_THREADS": "1",
}
"""Nobody is told, nothing is fetched, and every engine has the same threads."""

KIBIBYTE = 1024
LOOK_SECONDS = 0.05


def run_fresh(program: str, arguments: list[str], *, log: Path) -> float:
    """Run Python code in a new interpreter and return its wall seconds, from start to exit.

    Args:
        program: passed to `python -c`.
        arguments: its `sys.argv[1:]`.
        log: takes everything it prints.

    Raises:
        WithheldError: it failed; the last line of `log` is quoted.
    """
    started = time.perf_counter()
    with _started(program, arguments, log) as process:
        process.wait()
    seconds = time.perf_counter() - started
    _require_success(process, log)
    return seconds


def run_watched(program: str, arguments: list[str], *, log: Path) -> int:
    """As `run_fresh`, but return the most memory that it and all processes under it held at a time.

    The sum of their resident sets in bytes, looked at every `LOOK_SECONDS`; pages they share count for each.

    Raises:
        WithheldError: it failed; the last line of `log` is quoted.
    """
    peak = 0
    with _started(program, arguments, log) as process:
        first = psutil.Process(process.pid)
        while process.poll() is None:
            peak = max(peak, _resident(first))
            time.sleep(LOOK_SECONDS)
    _require_success(process, log)
    return peak


def _resident(first: psutil.Process) -> int:
    total = 0
    with suppress(psutil.NoSuchProcess):
        for process in (first, *first.children(recursive=True)):
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                total += process.memory_info().rss
    return total


def _started(program: str, arguments: list[str], log: Path) -> "subprocess.Popen[bytes]":
    with log.open("wb") as sink:
        return subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            stdout=sink,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**_with_bytecode(os.environ), **QUIET},
        )


def _require_success(process: "subprocess.Popen[bytes]", log: Path) -> None:
    if process.returncode:
        said = log.read_text(errors="replace").strip().splitlines() or ["nothing"]
        raise WithheldError(f"the measured process ended with {process.returncode}: {said[-1]}")


def _with_bytecode(environment: Mapping[str, str]) -> dict[str, str]:
    """Leave out what forbids Python to keep bytecode: most of what is measured would be compiling torch."""
    return {name: value for name, value in environment.items() if name != "PYTHONDONTWRITEBYTECODE"}


def peak_bytes() -> int:
    """Largest resident set of this process so far.

    Linux keeps it per program; `getrusage` would report that of the process that started this one if larger.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * KIBIBYTE
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else KIBIBYTE)
