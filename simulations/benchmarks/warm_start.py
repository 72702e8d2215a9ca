"""What a message costs at a site beyond every poll interval: our gate against Flower's own executor.

Both serve the same app, project and messages, in place of a SuperNode's; Flower's starts a process for each
message, as it does in every deployment, ours has one ready.
"""

import hashlib
import os
import secrets
import sys
import tempfile
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from flwr.app import Context, Message, RecordDict

from client import gate
from client.gate.settings import GateSettings, PinnedSettings
from common.files import write_whole
from common.messages import TRAIN, Instruction
from common.processes.child import Child, stop
from common.processes.party import environment
from common.project import Project, create_project
from server.checkpoint import fresh_global_state
from server.flower_app import PYPROJECT, app_folder, build_app
from simulations.benchmarks.small_federation import small_spec, small_stores
from simulations.benchmarks.task_server import TaskServer
from simulations.local_grid import FIRST_NODE, be_the_hub, node_context

SITE, SUPEREXEC = "site-01", "flower-superexec"


@dataclass(frozen=True)
class WarmStart:
    """Seconds for each message, in order; a run of its own for the first, so that no store is open yet."""

    stock: tuple[float, ...]
    """Flower's executor: process, imports, store and training."""
    ours: tuple[float, ...]
    """The gate: store and training."""
    local_steps: int

    @property
    def ratio(self) -> float:
        """How many times longer a message takes with Flower's executor, by the medians."""
        return median(self.stock) / median(self.ours)

    def to_json(self) -> dict[str, object]:
        """As `--json` prints it."""
        medians = {"median_stock": median(self.stock), "median_ours": median(self.ours)}
        return {"benchmark": "warm-start", **asdict(self), **medians, "ratio": self.ratio}


def time_messages(
    *, messages: int, local_steps: int, on_stage: Callable[[str], None] = lambda _: None
) -> WarmStart:
    """Send `messages` instructions of round 1, one after the other, to either executor.

    Raises:
        PeerError: an executor ended, or the app failed.
    """
    with tempfile.TemporaryDirectory(prefix="fedvlp-bench-") as name:
        folder = Path(name)
        stores = small_stores(folder / "stores", sites=2)
        spec = small_spec(sites=2, rounds=1, local_steps=local_steps)
        project = create_project(folder / "project", spec, sites=[*stores], bank=None)
        app = app_folder(folder / "app")
        fab = build_app(app).fab
        write_whole(folder / "app.fab", fab)
        node = {"site": SITE, "store": str(stores[SITE]), "project": str(project.folder)}
        context = node_context(FIRST_NODE, node)
        seconds = {}
        for kind, command in (("stock", _stock), ("ours", _gate)):
            on_stage(f"{kind}: {messages} messages")
            tasks = TaskServer(
                fab=fab, sha256=hashlib.sha256(fab).hexdigest(), identity=_identity(app), context=context
            )
            with tasks:
                child = Child(
                    kind,
                    command(folder, tasks.address, context),
                    environment=environment(os.environ, home=folder / "flower", threads=1),
                    log=folder / f"{kind}.log",
                )
                try:
                    seconds[kind] = tuple(tasks.seconds_for(_instruction(project)) for _ in range(messages))
                finally:
                    stop([child])
    return WarmStart(stock=seconds["stock"], ours=seconds["ours"], local_steps=local_steps)


def _stock(_: Path, address: str, __: Context) -> Sequence[str]:
    program = str(Path(sys.executable).parent / SUPEREXEC)
    return [program, "--runtime-api-address", address, "--insecure"]


def _gate(folder: Path, address: str, context: Context) -> Sequence[str]:
    write_whole(folder / "secret", secrets.token_bytes(32), mode=0o600)
    settings = GateSettings(
        runtime=address,
        secret=folder / "secret",
        rule=PinnedSettings(kind="pinned", fab=folder / "app.fab", project=folder / "project"),
        node={**context.node_config},
        memory_gib=None,
    )
    write_whole(folder / "gate.json", settings.model_dump_json().encode())
    return [sys.executable, "-P", "-m", gate.__name__, str(folder / "gate.json")]


def _identity(app: Path) -> tuple[str, str]:
    said = tomllib.loads((app / PYPROJECT).read_text())
    return f"{said['tool']['flwr']['app']['publisher']}/{said['project']['name']}", said["project"]["version"]


def _instruction(project: Project) -> Message:
    state = fresh_global_state(project)
    instruction = Instruction(
        round=1,
        project=project.digest,
        model=project.layout.digest(state.weights),
        weights=state.weights,
        clips=state.clips,
    )
    be_the_hub()
    content: RecordDict = instruction.to_records()
    return Message(content, FIRST_NODE, TRAIN)
