"""A process that has imported all an app needs, and forks a fresh process for the app when it is told to.

Run by `client.gate.warm` as a program of its own: it must have no threads when it forks. It puts itself under
limits first and imports the app's own code then, from the folder of the approved app and nowhere else; what
it forks inherits both.
"""

import importlib
import json
import os
import signal
import socket
import sys
from enum import StrEnum
from multiprocessing.connection import Connection
from typing import NoReturn

from flwr.clientapp import ClientApp

from client.confinement import be_ended_first, end_with_parent, hide_memory, limit_memory
from client.denied_calls import deny_calls
from client.gate.app_process import serve
from client.isolated_network import isolate_network
from client.landlock import Access, can_confine_files, confine_files
from common.loading import loading

if sys.platform != "win32":
    import resource

PRELOADED = "torch", "transformers", "pyarrow.parquet", "safetensors.torch", "tokenizers", "scipy.special"
"""Other people's packages that take long to import; the app's own modules import the rest."""
OURS = "client", "common", "server"
"""Packages that the app brings itself, by the names of those that this program came from."""

CONFINED, FREE = "confined", "free"
"""Whether an app reaches the files that it was told of and no others."""

HATCH, END = b"h", b"e"
"""What may be asked: a fresh process for the socket that comes with it, in the place of the one before; or
no process any more."""


class Seclusion(StrEnum):
    """How an app is kept off the network."""

    CALLS = "calls"
    """It opens no connection and starts no program: the system denies it the calls."""
    NETWORK = "network"
    """It and its programs reach each other and nothing else: their network holds nothing else."""
    NONE = "none"
    """Not at all: this system has neither."""


def main(
    control: socket.socket,
    *,
    folder: str,
    reference: str,
    memory_bytes: int,
    starts_programs: bool,
    files: list[tuple[str, int]],
) -> None:
    """Import, tell what limits are on, and fork when asked, until the other end is closed.

    Args:
        control: to the gate.
        folder: of the unpacked app.
        reference: of its ClientApp, "module:attribute".
        memory_bytes: what an app's process may have above what this one has; 0 for no limit.
        starts_programs: whether the app needs programs of its own and connections to them.
        files: what the app may reach, from its import on, see `client.landlock.confine_files`.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the keyboard is for the gate, who ends us
    seclusion = Seclusion.NONE
    if starts_programs and isolate_network():
        seclusion = Seclusion.NETWORK
    end_with_parent()  # after a change of namespaces, which would undo it
    with loading():
        for name in PRELOADED:
            importlib.import_module(name)
    be_ended_first()
    hide_memory()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if not starts_programs and deny_calls():
        seclusion = Seclusion.CALLS
    if confined := can_confine_files():
        confine_files([(path, Access(access)) for path, access in files])
    with loading():
        app = _load(folder, reference)
    control.sendall(f"{seclusion} {CONFINED if confined else FREE}\n".encode())
    child = 0
    while True:
        request, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if child:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            child = 0
        if not request:
            return
        if request == HATCH:
            child = os.fork()
            if not child:
                control.close()
                _be_app(descriptors[0], app, memory_bytes)
            os.close(descriptors[0])


def _load(folder: str, reference: str) -> ClientApp:
    """The ClientApp in `folder`, with its own `client` and `common`, not those of this program."""
    for name in [name for name in sys.modules if name.partition(".")[0] in OURS]:
        del sys.modules[name]
    sys.path.insert(0, folder)
    module, _, attribute = reference.partition(":")
    app = getattr(importlib.import_module(module), attribute)
    if not isinstance(app, ClientApp):
        raise TypeError(f"{reference} is no ClientApp")
    return app


def _be_app(descriptor: int, app: ClientApp, memory_bytes: int) -> NoReturn:
    try:
        end_with_parent()
        if memory_bytes:
            limit_memory(memory_bytes)
        serve(Connection(descriptor), app)
    except (
        BaseException
    ) as error:  # no traceback: a library's text may name a patient; the gate says the rest
        print(f"the app's process ended: {type(error).__name__}", file=sys.stderr, flush=True)
    finally:
        os._exit(0)


if __name__ == "__main__":
    asked = json.loads(sys.argv[2])
    main(socket.socket(fileno=int(sys.argv[1])), **asked)
