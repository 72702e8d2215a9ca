"""A federation with secure aggregation to test with, whose rounds are played one by one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp
from one_site import ask
from tiny import tiny_spec

from client import app as client_app
from client.home import ROUNDS
from common.messages import CONSENT, INPUT, REVEAL, SHARE, TRAIN
from common.spec.run import Spec
from server.attempts import Attempts
from server.checkpoint import fresh_global_state
from server.ledgers import LedgerHeads
from server.rounds import Collected, collect, instruct
from simulations.federation import Federation
from simulations.grid import InProcessGrid

SITES = ("east", "north", "south", "west")
STAGES = (TRAIN, SHARE, INPUT, CONSENT, REVEAL)
SECURE = {"mode": "sa1", "min_sites": 3, "rare_rows": "frozen"}


def secure_spec(mode: str = "sa1", **changes: Any) -> Spec:
    """A round or two; nothing is judged."""
    settings: dict[str, Any] = {
        "evaluation__retrieval": False,
        "evaluation__zero_shot": [],
        "data__anchor_pairs": 0,
        "train__vocabulary_rows": "frozen",
        "train__local_steps": 1,
        "federation__rounds": 2,
        "federation__min_sites": 3,
        "secure_aggregation": dict(SECURE) if mode == "sa1" else {"mode": "off"},
    }
    return tiny_spec(**settings | changes)


App = Callable[[Message, Context], Message]


@dataclass
class Weak:
    """FedVLP's own app, but some sites fail at some message, and every reply is remembered."""

    fails: dict[str, str]
    replies: list[tuple[str, str, RecordDict]]

    def __call__(self, message: Message, context: Context) -> Message:
        site, kind = str(context.node_config["site"]), message.metadata.message_type
        if self.fails.get(site) == kind:
            raise OSError("the machine went away")
        reply = client_app.app(message, context)
        self.replies.append((site, kind, reply.content))
        return reply


class Place:
    """A prepared federation whose rounds a test plays one by one."""

    def __init__(self, out: Path, four: Mapping[str, Path], spec: Spec) -> None:
        self.federation = Federation(spec, four, None, out)
        self.project = self.federation.prepare(resume=False)
        self.state = fresh_global_state(self.project)
        self.ledgers = LedgerHeads(out)
        self.attempts = Attempts(out)
        self.instruction = instruct(self.project, self.state, self.ledgers)

    def collect(
        self, fails: dict[str, str] | None = None, only: tuple[str, ...] = SITES
    ) -> tuple[Collected, Weak]:
        app = Weak(fails or {}, [])
        return self.collect_from(app, only), app

    def collect_from(self, app: App, only: tuple[str, ...] = SITES) -> Collected:
        """A round in which `app` answers for every site."""
        grid = InProcessGrid(self.federation.node_configs(), client_app=cast(ClientApp, app))
        cohort = {node.name: node.node_id for node in grid.get_nodes() if node.name in only}
        return collect(grid, cohort, self.instruction, self.project, self.ledgers, self.attempts)

    def go_on(self, collected: Collected) -> None:
        """Move the model, as the hub does between two rounds."""
        self.state.advance(collected.sum.mean, self.project)
        self.instruction = instruct(self.project, self.state, self.ledgers)

    def restart_hub(self) -> None:
        """Forget all but what the hub keeps on its disc and its model."""
        self.ledgers = LedgerHeads(self.federation.out)
        self.attempts = Attempts(self.federation.out)
        self.instruction = instruct(self.project, self.state, self.ledgers)

    def home(self, site: str) -> Path:
        return Path(str(self.federation.node_configs()[site]["home"])) / ROUNDS

    def ask(self, site: str, kind: str, records: RecordDict, **node: Any) -> Message:
        """The reply of one site to one message."""
        return ask({**self.federation.node_configs()[site], **node}, records, kind)
