"""The gate's side of a warm app: its unpacked code, its fork server, and the one process that answers.

A process answers the messages of one run, so that what takes long, such as reading a store, is done once; a
fresh one is forked for the next run, after a failure, and after a while without work.
"""

import contextlib
import json
import socket
import struct
import subprocess
import sys
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Self

from flwr.app import RecordDict

from client.gate import forkserver
from client.gate.forkserver import CONFINED, Seclusion
from client.gate.reach import Reach
from client.gate.wire import Failure, MalformedError, Question, receive_reply, send_question
from client.landlock import CHANGE, READ
from common.errors import ConfigurationError, FederationError, PeerError

START_SECONDS = 300.0
"""For the fork server's imports, on a busy machine."""
STALL_SECONDS = 120
"""Between two pieces of one message from the app's process."""
IDLE_SECONDS = 900.0
"""After which a process that nobody asks anything is ended, for what it holds in memory."""
HEARTBEAT_SECONDS = 10.0
CODE, SCRATCH = "code", "scratch"
"""Folders of an app: what it is, and what it may write that nobody keeps."""


@dataclass(frozen=True)
class Limits:
    """What an app's process may use."""

    seconds: float
    """For one message, on the wall's clock."""
    memory_bytes: int | None
    """Above that of an idle process; None for no limit."""
    starts_programs: bool
    """Whether it may start programs, and connect to them."""
    reply_bytes: int
    """What a reply may hold."""
    reach: Reach
    """Files, besides its own code."""


class AppEndedError(PeerError):
    """The app's process ended, was ended, or said what nobody can read."""


class WarmApp:
    """A fork server with the code of one app."""

    def __init__(self, fab: bytes, limits: Limits, *, environment: Mapping[str, str]) -> None:
        """Start to import; see `wait`."""
        self.limits, self._marks = limits, limits.reach.marks()
        self._folder = tempfile.TemporaryDirectory(prefix="fedvlp-app-")
        code, scratch = (Path(self._folder.name) / name for name in (CODE, SCRATCH))
        code.mkdir()
        scratch.mkdir()
        try:
            reference = _unpack(fab, code)
        except FederationError:
            self._folder.cleanup()
            raise
        self._control, theirs = socket.socketpair()
        asked = {
            "folder": str(code),
            "reference": reference,
            "memory_bytes": limits.memory_bytes or 0,
            "starts_programs": limits.starts_programs,
            "files": [*limits.reach.rules, (str(code), READ), (str(scratch), CHANGE)],
        }
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", forkserver.__name__, str(theirs.fileno()), json.dumps(asked)],
                env={**environment, "TMPDIR": str(scratch), "TRITON_CACHE_DIR": str(scratch)},
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        self._connection: Connection | None = None
        self._run = 0
        self._used = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def wait(self, *, still_wanted: Callable[[], bool] = lambda: True) -> tuple[Seclusion, bool]:
        """Wait until it is ready; returns how it is kept off the network, and whether off other files.

        Args:
            still_wanted: called every `HEARTBEAT_SECONDS`, for the SuperNode's patience with a task.

        Raises:
            PeerError: the app cannot be imported.
        """
        deadline, said = time.monotonic() + START_SECONDS, b""
        self._control.settimeout(HEARTBEAT_SECONDS)
        while not said.endswith(b"\n") and time.monotonic() < deadline:
            try:
                piece = self._control.recv(4096)
            except TimeoutError:
                still_wanted()
                continue
            except OSError:
                break
            if not piece:
                break
            said += piece
        if not said.endswith(b"\n"):
            raise PeerError(
                "the approved app cannot be imported here; see the lines above, and whether the packages are "
                "those of the bundle (`fedvlp-site doctor`)",
                outward="the app cannot be loaded at this site",
            )
        seclusion, files = said.decode().split()
        return Seclusion(seclusion), files == CONFINED

    def ask(self, question: Question, *, still_wanted: Callable[[], bool]) -> RecordDict | Failure:
        """What the app answers.

        Args:
            question: the message.
            still_wanted: asked every `HEARTBEAT_SECONDS`; when it says no, the process is ended.

        Raises:
            AppEndedError: no answer came; the next question goes to a fresh process.
        """
        connection = self._process_for(question.run)
        deadline = time.monotonic() + self.limits.seconds
        try:
            send_question(connection, question)
            while not connection.poll(min(HEARTBEAT_SECONDS, max(0.0, deadline - time.monotonic()))):
                if time.monotonic() >= deadline:
                    raise AppEndedError(
                        f"the app's process took longer than {self.limits.seconds:g} s and was ended",
                        outward="the app took too long",
                    )
                if not still_wanted():
                    raise AppEndedError("the run was stopped; the app's process was ended")
            reply = receive_reply(connection, limit_bytes=self.limits.reply_bytes)
        except MalformedError as error:
            self.rest()
            raise AppEndedError(
                f"the app's process sent what cannot be read, or too much ({error}); it was ended",
                outward="the app's answer cannot be read",
            ) from None
        except (EOFError, OSError):
            self.rest()
            raise AppEndedError(
                "the app's process ended before it answered: out of memory, or a crash",
                outward="the app's process ended",
            ) from None
        except BaseException:
            self.rest()
            raise
        self._used = time.monotonic()
        return reply

    def rest(self) -> None:
        """End the app's process, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            with contextlib.suppress(OSError):
                self._control.sendall(forkserver.END)

    def rest_if_idle(self) -> None:
        """End the app's process if nobody asked it anything for `IDLE_SECONDS`."""
        if time.monotonic() - self._used > IDLE_SECONDS:
            self.rest()

    def end(self) -> None:
        """End every process, and remove the unpacked app."""
        self.rest()
        self._control.close()  # which ends the fork server
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()

    def _process_for(self, run: int) -> Connection:
        if self._connection is None or self._run != run:
            self.rest()
            ours, theirs = socket.socketpair()
            with theirs:
                for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                    ours.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", STALL_SECONDS, 0))
                try:
                    socket.send_fds(self._control, [forkserver.HATCH], [theirs.fileno()])
                except OSError:
                    ours.close()
                    raise AppEndedError(
                        "the fork server ended; a new one is started with the next message",
                        outward="the app's process ended",
                    ) from None
            self._connection, self._run = Connection(ours.detach()), run
        return self._connection

    @property
    def running(self) -> bool:
        """Whether the fork server lives, and reaches what it should."""
        return self._process.poll() is None and self._marks == self.limits.reach.marks()


def _unpack(fab: bytes, folder: Path) -> str:
    """Unpack the app into `folder` and return the reference of its ClientApp."""
    packed = folder / "app.fab"
    packed.write_bytes(fab)
    try:
        with zipfile.ZipFile(packed) as archive:
            archive.extractall(folder)  # never outside: zipfile drops what would lead there
        app = tomllib.loads((folder / "pyproject.toml").read_text())["tool"]["flwr"]["app"]
        return str(app["components"]["clientapp"])
    except (zipfile.BadZipFile, OSError, ValueError, KeyError, TypeError):
        raise ConfigurationError(
            "the approved app is no Flower app; ask the operator for a new bundle",
            outward="the app cannot be loaded at this site",
        ) from None
    finally:
        packed.unlink()
