"""A hub in the hands of an adversary: it sends hospitals what it likes, and keeps all that they ever said.

The hospitals are the real ClientApp with its state on disc; nothing of theirs is replaced.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from flwr.app import Message, RecordDict

from common.errors import PeerError
from common.messages import CONSENT, INPUT, REVEAL, SHARE, TRAIN, Answer, Instruction, Step
from common.project import Project
from common.secagg.messages import (
    SEALED_BYTES,
    Advert,
    Shares,
    Table,
    adverts_to_bytes,
    sites_to_bytes,
    table_from_bytes,
    table_to_bytes,
)
from common.secagg.round_terms import terms_of
from common.secagg.terms import Terms
from common.secagg.transcript import Cohort
from common.spec.run import Spec
from common.spec.secure_aggregation import NoSecureAggregationSpec, SA1Spec
from common.update import Integers, Planes
from server.checkpoint import fresh_global_state
from server.ledgers import LedgerHeads
from server.rounds import instruct
from simulations.benchmarks.small_federation import small_spec, small_stores
from simulations.federation import Federation
from simulations.grid import InProcessGrid

SITES = 4
VICTIM = 0
OTHERS = tuple(range(1, SITES))
EVERYONE = tuple(range(SITES))


class StoppedError(PeerError):
    """A hospital refused; `str` is what it told the hub."""


def federation(folder: Path, *, secure: bool) -> Federation:
    """Four small hospitals, with secure aggregation or without; both train alike."""
    spec = small_spec(sites=SITES, rounds=1, local_steps=1)
    mode = (
        SA1Spec(mode="sa1", min_sites=3, rare_rows="frozen")
        if secure
        else NoSecureAggregationSpec(mode="off")
    )
    frozen = spec.train.model_copy(update={"vocabulary_rows": "frozen"})
    spec = Spec.model_validate(
        {**spec.model_dump(), "train": frozen.model_dump(), "secure_aggregation": mode.model_dump()}
    )
    return Federation(spec, small_stores(folder / "stores", sites=SITES), None, folder / mode.mode)


@dataclass
class Adversary:
    """One federation under its hands; sites are known by their place."""

    grid: InProcessGrid
    project: Project
    instruction: Instruction
    attempt: int = 0
    adverts: dict[int, Advert] = field(default_factory=dict)
    sealed: dict[int, Table] = field(default_factory=dict)
    masked: dict[int, Planes] = field(default_factory=dict)
    signatures: Table = field(default_factory=dict)
    shares: dict[int, Shares] = field(default_factory=dict)

    @classmethod
    def over(cls, victims: Federation) -> "Adversary":
        """Take over the hub of a federation that is prepared and has not begun."""
        project = victims.prepare(resume=False)
        state = fresh_global_state(project)
        instruction = instruct(project, state, LedgerHeads(victims.out))
        return cls(InProcessGrid(victims.node_configs()), project, instruction)

    def begin(self, changes: Mapping[int, Instruction] | None = None) -> None:
        """A new attempt at the round; some sites may be told something else."""
        self.attempt += 1
        self.sealed, self.masked, self.signatures, self.shares = {}, {}, {}, {}
        for site in EVERYONE:
            told = replace((changes or {}).get(site, self.instruction), attempt=self.attempt)
            self.adverts[site] = Advert.from_bytes(self.send(site, TRAIN, told.to_records()).body)

    def share(self, site: int, adverts: Mapping[int, Advert]) -> None:
        """Show `site` a cohort."""
        said = self.step(site, SHARE, adverts_to_bytes(adverts))
        self.sealed[site] = table_from_bytes(said.body, entry_bytes=SEALED_BYTES)

    def deliver(self, site: int, table: Table | None = None) -> None:
        """Give `site` the shares that are meant for it, or others."""
        meant = {sender: texts[site] for sender, texts in self.sealed.items() if sender != site}
        said = self.step(site, INPUT, table_to_bytes(meant if table is None else table))
        assert said.planes is not None
        self.masked[site] = said.planes

    def name(self, site: int, survivors: tuple[int, ...]) -> None:
        """Tell `site` who survived."""
        self.signatures[site] = self.step(site, CONSENT, sites_to_bytes(survivors)).body

    def ask(self, site: int, signatures: Table) -> None:
        """Ask `site` for the shares that unmask."""
        self.shares[site] = Shares.from_bytes(self.step(site, REVEAL, table_to_bytes(signatures)).body)

    def until_masked(self) -> None:
        """Play honestly until every site has sent its masked update."""
        self.begin()
        for site in EVERYONE:
            self.share(site, self.adverts)
        for site in EVERYONE:
            self.deliver(site)

    @property
    def terms(self) -> Terms:
        """Of the attempt that is open."""
        return terms_of(replace(self.instruction, attempt=self.attempt), self.project)

    @property
    def cohort(self) -> Cohort:
        """As an honest hub would have shown it."""
        return Cohort.of(self.terms, self.adverts)

    def step(self, site: int, kind: str, body: bytes) -> Step:
        """Send one step."""
        return self.send(site, kind, Step(self.instruction.round, self.attempt, body).to_records())

    def send(self, site: int, kind: str, records: RecordDict) -> Step:
        """Send anything.

        Raises:
            StoppedError: the site refused.
        """
        return Step.from_records(self.raw(site, kind, records))

    def raw(self, site: int, kind: str, records: RecordDict) -> RecordDict:
        """Send anything and take anything."""
        node = next(node.node_id for node in self.grid.get_nodes() if node.name == self.name_of(site))
        (reply,) = self.grid.send_and_receive([Message(records, node, kind)])
        if reply.has_error():
            raise StoppedError(str(reply.error.reason).partition(":<'")[2].removesuffix("'>"))
        return reply.content

    def name_of(self, site: int) -> str:
        """The site's name."""
        return self.project.manifest.sites[site]


def plain_update(folder: Path) -> Integers:
    """The victim's update as the hub of plain aggregation reads it."""
    adversary = Adversary.over(federation(folder, secure=False))
    content = adversary.raw(VICTIM, TRAIN, adversary.instruction.to_records())
    return Answer.from_records(content).planes.integers()


def likeness(guess: npt.NDArray[np.generic], truth: Integers) -> float:
    """Correlation: about 0 for noise, 1 for the update itself."""
    return float(np.corrcoef(guess.astype(np.float64), truth.astype(np.float64))[0, 1])
