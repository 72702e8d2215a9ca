"""Sites of a secure round in a process of their own, so that their memory is not counted as the hub's.

They take the steps that hospitals take, with one made update for all; masked, it goes by file.
"""

import hashlib
import multiprocessing
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from flwr.app import Message

from common.messages import CONSENT, INPUT, REVEAL, SHARE, TRAIN, Answer, Instruction, Step
from common.project import Project, open_project
from common.roster import Member as RosterMember
from common.secagg.keys import SIGNATURE_BYTES, Secret, identity_of
from common.secagg.messages import (
    SEALED_BYTES,
    adverts_from_bytes,
    sites_from_bytes,
    table_from_bytes,
    table_to_bytes,
)
from common.secagg.round_terms import terms_of
from common.secagg.site import (
    Advertised,
    Consented,
    Masked,
    Member,
    Shared,
    Stage,
    advertise,
    consent,
    mask,
    reveal,
    share,
)
from common.secagg.terms import Terms
from common.update import Planes, Vector
from simulations.benchmarks.made_answer import made_answer, write_answer


def roster_member(site: str) -> RosterMember:
    """`site` under the identity that it has in this benchmark."""
    return RosterMember(name=site, identity=identity_of(signing_key(site)).hex())


def signing_key(site: str) -> Secret:
    """Nobody's secret."""
    return Secret(hashlib.sha256(site.encode()).digest())


@dataclass(frozen=True)
class Asked:
    """What a site needs of a message of the hub."""

    kind: str
    site: int
    round: int
    attempt: int
    body: bytes = b""
    model: str = ""
    clips: Vector = field(default_factory=lambda: np.empty(0, np.float32))

    @classmethod
    def of(cls, message: Message, site: int) -> "Asked":
        """Of `message` to `site`; the model is left out."""
        kind, content = message.metadata.message_type, message.content
        if kind == TRAIN:
            said = Instruction.from_records(content)
            return cls(kind, site, said.round, said.attempt, model=said.model, clips=said.clips.copy())
        step = Step.from_records(content)
        return cls(kind, site, step.round, step.attempt, step.body)


class SecureSites:
    """The process, while the block lasts."""

    def __init__(self, project: Path, masked: Path) -> None:
        """Sites of the project in the folder `project`; see `masked_in`."""
        context = multiprocessing.get_context("spawn")
        self._here, there = context.Pipe()
        self._folder = masked
        self._process = context.Process(target=_answer, args=(there, project, masked), daemon=True)

    def __enter__(self) -> "SecureSites":
        """Start it."""
        self._process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._here.send(None)
        self._process.join()

    def ask(self, asked: Asked) -> bytes:
        """The body of the site's answer; after INPUT its update lies in `masked_in`."""
        self._here.send(asked)
        body = self._here.recv()
        assert isinstance(body, bytes)
        return body

    def masked_in(self, site: int) -> Path:
        """Where the masked update of `site` lies, as `write_answer` keeps it."""
        return self._folder / str(site)


def _answer(hub: Connection, folder: Path, masked: Path) -> None:
    sites = _Sites(open_project(folder), masked)
    while (asked := hub.recv()) is not None:
        hub.send(sites.answer(asked))


class _Sites:
    def __init__(self, project: Project, masked: Path) -> None:
        self._project, self._masked = project, masked
        self._made = made_answer(project)
        identities = project.roster.identities
        self._members = {
            place: Member(place, signing_key(name), identities)
            for place, name in enumerate(project.roster.names)
        }
        self._stages: dict[int, Stage] = {}

    def answer(self, asked: Asked) -> bytes:
        member, stage = self._members[asked.site], self._stages.get(asked.site)
        following: Stage
        match asked.kind, stage:
            case _, _ if asked.kind == TRAIN:
                following, advert = advertise(member, self._terms(asked))
                body = advert.to_bytes()
            case _, Advertised() if asked.kind == SHARE:
                following, sealed = share(member, stage, adverts_from_bytes(asked.body))
                body = table_to_bytes(sealed)
            case _, Shared() if asked.kind == INPUT:
                following, body = self._mask(member, stage, asked), b""
            case _, Masked() if asked.kind == CONSENT:
                following, body = consent(member, stage, sites_from_bytes(asked.body))
            case _, Consented() if asked.kind == REVEAL:
                signatures = table_from_bytes(asked.body, entry_bytes=SIGNATURE_BYTES)
                return reveal(member, stage, signatures).to_bytes()
            case _:
                raise AssertionError(f"{asked.kind} after {stage}")
        self._stages[asked.site] = following
        return body

    def _terms(self, asked: Asked) -> Terms:
        nothing = np.empty(0, np.float32)
        said = Instruction(
            asked.round, self._project.digest, asked.model, nothing, asked.clips, attempt=asked.attempt
        )
        return terms_of(said, self._project)

    def _mask(self, member: Member, stage: Shared, asked: Asked) -> Masked:
        made = self._made.planes
        planes = Planes(made.low.copy(), None if made.high is None else made.high.copy())
        lanes = self._made.sums.copy()
        sealed = table_from_bytes(asked.body, entry_bytes=SEALED_BYTES)
        following = mask(member, stage, sealed, planes, lanes)
        answer = Answer(round=0, project="", model="", planes=planes, sums=lanes)
        write_answer(self._masked / str(asked.site), answer)
        return following
