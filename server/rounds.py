"""The round loop's stages at the hub: instruct the sites, sum their answers, move the model.

Shapes: N coordinates of the model.
"""

import logging
import time
from dataclasses import dataclass, field, replace

from flwr.app import Message
from flwr.serverapp import Grid

from common.errors import IntegrityError, PeerError
from common.messages import TRAIN, Answer, Instruction
from common.project import Project
from common.spec.privacy import JointPrivacySpec
from common.update import instruction_bytes
from server.aggregate import Accumulator, Lanes, RoundSum, mean_losses
from server.attempts import Attempts
from server.checkpoint import GlobalState
from server.cohort import Cohort, Reply, exchange
from server.ledgers import LedgerHeads
from server.report.records import SiteRound
from server.secagg import SecureRound

log = logging.getLogger("fedvlp")

MICROSECONDS = 1e6


@dataclass
class Collected:
    """A round's answers, already summed, and what is known of each site."""

    sum: RoundSum
    sites: tuple[SiteRound, ...]
    bytes_down: int
    bytes_up: int
    seconds: float
    """From the first push to the last reply."""
    adding_seconds: float
    """Spent on adding answers up."""
    contributors: int
    """Sites whose updates are in the sum."""
    lanes: dict[str, Lanes] = field(default_factory=dict)
    """Site -> its own sums; plain aggregation shows them, secure aggregation does not."""


def instruct(project: Project, state: GlobalState, ledgers: LedgerHeads) -> Instruction:
    """The instruction of the next round: a function of what the hub keeps."""
    return Instruction(
        round=state.round + 1,
        project=project.digest,
        model=project.layout.digest(state.weights),
        weights=state.weights,
        clips=state.clips,
        ledgers=ledgers.heads,
    )


def collect(
    grid: Grid,
    cohort: Cohort,
    instruction: Instruction,
    project: Project,
    ledgers: LedgerHeads,
    attempts: Attempts,
) -> Collected:
    """Send `instruction` to every site of the cohort and add the answers up, one at a time.

    Raises:
        PeerError: fewer usable answers than federation.min_sites; nothing was applied.
    """
    if project.spec.secure_aggregation.mode == "sa1":
        numbered = replace(instruction, attempt=attempts.next(project.digest))
        return _collect_securely(grid, cohort, numbered, project, ledgers)
    federation = project.spec.federation
    started = time.perf_counter()
    accumulator = _accumulator(instruction, project)
    adding = _Adding(accumulator, ledgers)
    timeout_seconds = federation.reply_timeout_seconds
    exchange(
        grid,
        _address(instruction, cohort, timeout_seconds),
        timeout_seconds=timeout_seconds,
        on_reply=adding.take,
    )
    seconds = time.perf_counter() - started
    adding.require(federation.min_sites, instruction.round)
    return Collected(
        sum=adding.accumulator.finish(),
        sites=tuple(adding.sites[name] for name in sorted(adding.sites)),
        bytes_down=len(cohort) * instruction_bytes(len(instruction.weights), len(instruction.clips)),
        bytes_up=len(adding.lanes) * project.answer_bytes,
        seconds=seconds,
        adding_seconds=adding.seconds,
        contributors=len(adding.lanes),
        lanes=adding.lanes,
    )


def _collect_securely(
    grid: Grid, cohort: Cohort, instruction: Instruction, project: Project, ledgers: LedgerHeads
) -> Collected:
    """The same by secure aggregation: the hub learns the sum over the survivors."""
    found = SecureRound(grid, cohort, instruction, project, ledgers).play()
    accumulator = _accumulator(instruction, project)
    accumulator.take_sum(found.total, found.lanes, sites=len(found.survivors))
    joint = isinstance(project.spec.privacy, JointPrivacySpec)
    return Collected(
        sum=accumulator.finish_joint(project, found.survivors) if joint else accumulator.finish(),
        sites=tuple(
            SiteRound(name=name, status="ok", examples=None, seconds_training=None)
            if name in found.survivors
            else found.dropped[name]
            for name in sorted(cohort)
        ),
        bytes_down=len(cohort) * instruction_bytes(len(instruction.weights), len(instruction.clips)),
        bytes_up=len(found.survivors) * project.answer_bytes,
        seconds=found.seconds,
        adding_seconds=found.summing_seconds,
        contributors=len(found.survivors),
    )


def _accumulator(instruction: Instruction, project: Project) -> Accumulator:
    return Accumulator(
        project.layout,
        project.spec.objectives.names,
        instruction,
        project.profile,
        weight_cap=project.spec.federation.weight_cap,
    )


def _address(instruction: Instruction, cohort: Cohort, timeout_seconds: float) -> dict[str, Message]:
    """Site -> its message; all share one copy of the model."""
    records = instruction.to_records()
    group, lifetime = str(instruction.round), _lifetime(timeout_seconds)
    return {
        site: Message(records, node, TRAIN, group_id=group, ttl=lifetime) for site, node in cohort.items()
    }


class _Adding:
    """Takes replies one by one: a good answer is added and dropped, anything else is written down."""

    def __init__(self, accumulator: Accumulator, ledgers: LedgerHeads) -> None:
        self.accumulator = accumulator
        self.ledgers = ledgers
        self.sites: dict[str, SiteRound] = {}
        self.lanes: dict[str, Lanes] = {}
        self.seconds = 0.0

    def take(self, reply: Reply) -> None:
        started = time.perf_counter()
        self.sites[reply.site] = self._judge(reply)
        self.seconds += time.perf_counter() - started

    def _judge(self, reply: Reply) -> SiteRound:
        if reply.message is None:
            return reply.absence()
        try:
            answer = Answer.from_records(reply.message.content)
            self.ledgers.remember(reply.site, answer.ledger)
            lanes = self.accumulator.add(answer)
        except IntegrityError as error:
            log.warning("answer of %s refused: %s", reply.site, error)
            return SiteRound(name=reply.site, status="refused", reason=str(error))
        self.lanes[reply.site] = lanes
        return SiteRound(
            name=reply.site,
            status="ok",
            examples=lanes["examples"],
            seconds_training=lanes["training_microseconds"] / MICROSECONDS,
            losses=dict(mean_losses(lanes, "training")),
            validation=dict(mean_losses(lanes, "validation")),
        )

    def require(self, min_sites: int, round_number: int) -> None:
        usable = len(self.lanes)
        if usable >= min_sites:
            return
        why = "; ".join(f"{site.name}: {site.reason}" for site in self.sites.values() if site.status != "ok")
        raise PeerError(
            f"round {round_number}: {usable} usable answers, federation.min_sites = {min_sites} ({why}); "
            "the model of the round before is kept, mend the sites and run again with --resume"
        )


def _lifetime(reply_timeout_seconds: float) -> float:
    """Seconds that Flower keeps a message: longer than we wait for its reply."""
    return 2 * reply_timeout_seconds + 60
