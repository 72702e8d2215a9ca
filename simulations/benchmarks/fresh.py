"""Fresh processes, so that start-up counts and nothing of one measurement is left for the next."""

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

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
    with log.open("wb") as sink:
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            stdout=sink,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **QUIET},
            check=False,
        )
    seconds = time.perf_counter() - started
    if done.returncode:
        said = log.read_text(errors="replace").strip().splitlines() or ["nothing"]
        raise WithheldError(f"the measured process ended with {done.returncode}: {said[-1]}")
    return seconds


def peak_bytes() -> int:
    """Largest resident set of this process so far.

    Linux keeps it per program; `getrusage` would report that of the process that started this one if larger.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * KIBIBYTE
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else KIBIBYTE)
