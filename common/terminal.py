"""How the three commands speak: one line for a refusal, the contract's exit codes, a bar on a terminal."""

import errno
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click
import typer
from rich.console import Console

from common.errors import ConfigurationError, FederationError

if TYPE_CHECKING:
    from rich.progress import Progress

INTERRUPTED = 130
NOT_OURS = (errno.EACCES, errno.EPERM, errno.EROFS)
"""What a file says to an account that it does not belong to."""

Advance = Callable[[int, str], None]
"""Called with the steps just done and a few words on where things stand."""


def run_command(command: typer.Typer, name: str) -> int:
    """Run `command`, and return the exit code of the contract; a person's mistake never shows a traceback."""
    try:
        code = command(standalone_mode=False)
    except FederationError as error:
        _say(name, str(error))
        return error.exit_code
    except click.exceptions.Abort:
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return 2
    except KeyboardInterrupt:
        _say(name, "stopped by the keyboard; what was finished is kept")
        return INTERRUPTED
    except Exception as error:
        if isinstance(error, OSError) and error.errno in NOT_OURS and error.filename is not None:
            _say(name, f"{error.filename}: {error.strerror}; use the account that it belongs to")
            return ConfigurationError.exit_code
        if os.environ.get("FEDVLP_DEBUG") == "1":
            traceback.print_exc()
        _say(name, f"our bug: {type(error).__name__}; please report it with the output under FEDVLP_DEBUG=1")
        return 70
    return code if isinstance(code, int) else 0


@contextmanager
def progress(title: str, total: int, *, unit: str = "") -> Iterator[Advance]:
    """Show a bar with time left on a terminal, and plain lines at every tenth elsewhere.

    With a `unit`, such as "files", both tell how many of them a second brings.
    """
    console, began = Console(stderr=True), time.monotonic()
    if console.is_terminal:
        with _bar(console) as bar:
            task = bar.add_task(title, total=total, words="")

            def update(steps: int, words: str) -> None:
                bar.advance(task, steps)
                rate = bar.tasks[task].completed / max(time.monotonic() - began, 1e-3)
                bar.update(task, words=f"{rate:,.0f} {unit}/s {words}".rstrip() if unit else words)

            yield update
        return
    done = 0

    def advance(steps: int, words: str) -> None:
        nonlocal done
        tenth = done * 10 // max(total, 1)
        done += steps
        if done * 10 // max(total, 1) != tenth:
            pace = _pace(done, total, unit, time.monotonic() - began) if unit else ""
            print(f"{title}: {done}/{total} {pace}{words}".rstrip(), file=sys.stderr, flush=True)

    yield advance


def _pace(done: int, total: int, unit: str, seconds: float) -> str:
    rate = done / max(seconds, 1e-3)
    left = round((total - done) / rate)
    return f"{unit}, {rate:,.0f}/s, {left // 60}:{left % 60:02} left "


def _bar(console: Console) -> "Progress":
    from rich.progress import (  # most commands show no bar
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[words]}"),
        console=console,
    )


def _say(name: str, line: str) -> None:
    print(f"{name}: {' '.join(line.split())}", file=sys.stderr)
