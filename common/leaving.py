"""Ending a command's process at once, where an interpreter would first take itself apart.

That takes 0.1 s where torch is loaded, and nothing that anyone sees comes of it. Threads are waited for, and
exit handlers run, as ever; those registered before this module was imported do not, which is why the
commands import it before everything else.
"""

import atexit
import logging
import os
import sys
from typing import NoReturn

_codes: list[int] = []
"""The exit code that `leave` was called with."""


def leave(code: int) -> NoReturn:
    """Exit with `code`. For the entry point of a program: whoever catches SystemExit leaves with it later."""
    _codes[:] = [code]
    sys.exit(code)


@atexit.register
def _end() -> None:
    """The last of all exit handlers: what is left is memory, which the system takes back."""
    if not _codes:
        return
    logging.shutdown()  # registered earlier, by `logging` itself
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:  # nobody reads any more: the interpreter has words and an exit code for that
        return
    os._exit(_codes[0])
