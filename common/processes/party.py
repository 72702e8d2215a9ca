"""The organisations of a deployment: the hub or one hospital, with its own files, settings and processes."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from common.errors import ConfigurationError
from common.processes.child import Child, kill, stop

EXECUTOR_POLL_SECONDS = 0.1
"""How often an executor asks for work; Flower's default is 1 s."""

LOOPBACK = "127.0.0.1,localhost"
"""What never goes through a proxy; see `environment`."""


class Party:
    """One organisation; nothing of it is shared with another but the address and the authority."""

    def __init__(
        self, name: str, *, folder: Path, logs: Path, threads: int, rotated_logs: bool = False
    ) -> None:
        """Keep keys and Flower's home under `folder`, one log per program under `logs`.

        Args:
            name: as it appears in error lines.
            folder: made when the first file is written.
            logs: see `log`.
            threads: OMP_NUM_THREADS of its processes.
            rotated_logs: whether logs are kept in files of bounded size, see `common.processes.rotating_log`.
        """
        self.name, self.folder = name, folder
        self._logs, self._threads, self._rotated = logs, threads, rotated_logs
        self.children: list[Child] = []

    @property
    def running(self) -> bool:
        """Whether it has processes and all of them live."""
        return bool(self.children) and all(child.running for child in self.children)

    def log(self, program: str) -> Path:
        """Where everything that `program` and the apps it starts print is kept."""
        return self._logs / f"{program}.log"

    def spawn(self, program: str, arguments: Sequence[str]) -> Child:
        """Start one of Flower's programs, the one installed beside this Python.

        Raises:
            ConfigurationError: Flower's programs are not installed there.
        """
        command = Path(sys.executable).parent / program
        if not command.is_file():
            raise ConfigurationError(f"{command} does not exist; install FedVLP with its dependencies again")
        return self._spawn(program, [str(command), *arguments], self._environment())

    def spawn_module(
        self,
        module: str,
        arguments: Sequence[str],
        *,
        further: Mapping[str, str] | None = None,
        outwards: bool = False,
    ) -> Child:
        """Start a program of our own, a module or a package with a `__main__`.

        Args:
            module: its name, which is also that of its log.
            arguments: of its command line.
            further: variables in its environment, beside those of `environment`.
            outwards: whether it calls somebody outside of this machine; no other is told of a proxy, which
                may have a password.
        """
        ours = {
            name: value
            for name, value in self._environment().items()
            if outwards or not name.lower().endswith("_proxy")
        }
        return self._spawn(
            module, [sys.executable, "-P", "-m", module, *arguments], {**ours, **(further or {})}
        )

    def _environment(self) -> dict[str, str]:
        return environment(os.environ, home=self.folder / "home", threads=self._threads)

    def _spawn(self, program: str, command: Sequence[str], variables: Mapping[str, str]) -> Child:
        self.folder.mkdir(parents=True, exist_ok=True)
        child = Child(
            f"{program} of {self.name}",
            command,
            environment=variables,
            log=self.log(program),
            rotated=self._rotated,
        )
        self.children.append(child)
        return child

    def said(self, program: str) -> str:
        """What the running or ended `program` printed since it was started."""
        return "".join(child.output() for child in self.children if child.log == self.log(program))

    def require_running(self) -> None:
        """Check that every process lives.

        Raises:
            PeerError: one ended; see `Child.require_running`.
        """
        for child in self.children:
            child.require_running()

    def end(self, child: Child) -> None:
        """End one of the processes politely."""
        stop([child])
        self.children.remove(child)

    def stop(self) -> None:
        """End the processes politely."""
        stop(self.children)
        self.children = []

    def kill(self) -> None:
        """End the processes at once."""
        kill(self.children)
        self.children = []


def environment(inherited: Mapping[str, str], *, home: Path, threads: int) -> dict[str, str]:
    """What Flower's programs see: ours, and of the inherited variables none that steers Flower.

    Telemetry, update checks and installations at run time are off; the loopback never goes through a proxy,
    nor what the inherited NO_PROXY names.
    """
    direct = ",".join(filter(None, (inherited.get("no_proxy") or inherited.get("NO_PROXY"), LOOPBACK)))
    ours = {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), inherited.get("PATH", os.defpath)]),
        "FLWR_HOME": str(home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": str(EXECUTOR_POLL_SECONDS),
        "NO_PROXY": direct,
        "no_proxy": direct,
        "OMP_NUM_THREADS": str(threads),
        "PYTHONUNBUFFERED": "1",
    }
    return {name: value for name, value in inherited.items() if not name.startswith("FLWR_")} | ours
