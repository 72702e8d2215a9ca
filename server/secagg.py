"""A round of secure aggregation at the hub: five exchanges, one sum, and nothing of any one site.

A site that does not answer in time, or refuses, has dropped out; the round goes on while enough are left. The
first exchange carries the model down, the third the masked updates up, one at a time into one accumulator.
Shapes: N coordinates of the model, K sums.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from common.errors import FederationError, IntegrityError, PeerError
from common.messages import CONSENT, INPUT, REVEAL, SHARE, TRAIN, Instruction, Step
from common.project import Project
from common.secagg.abort import AbortError, Reason
from common.secagg.hub import Advertising, Consenting, Sharing, Summing, Unmasking
from common.secagg.messages import (
    SEALED_BYTES,
    Advert,
    Shares,
    adverts_to_bytes,
    signature_from_bytes,
    sites_to_bytes,
    table_from_bytes,
    table_to_bytes,
)
from common.secagg.round_terms import terms_of
from common.secagg.site import Lanes
from common.update import Planes
from server.cohort import Cohort, Reply, exchange
from server.ledgers import LedgerHeads
from server.report.records import SiteRound

log = logging.getLogger("fedvlp")

Take = Callable[[int, Step], None]
"""Gives a site's step to the hub's stage."""


@dataclass
class SecureSum:
    """What a round leaves at the hub."""

    total: Planes
    lanes: Lanes
    survivors: tuple[str, ...]
    """Sites whose updates are in the sum."""
    dropped: dict[str, SiteRound]
    """Sites that stopped on the way, also of those in the sum, and why."""
    seconds: float = 0.0
    """From the first push to the last reply."""
    summing_seconds: float = 0.0


@dataclass
class SecureRound:
    """The exchanges of one round."""

    grid: Grid
    cohort: Cohort
    instruction: Instruction
    project: Project
    ledgers: LedgerHeads
    dropped: dict[str, SiteRound] = field(default_factory=dict)
    summing_seconds: float = 0.0

    def play(self) -> SecureSum:
        """All five exchanges.

        Raises:
            PeerError: fewer sites than the threshold were left; nothing was unmasked.
        """
        started = time.perf_counter()
        try:
            total, lanes, survivors = self._play()
        except AbortError as error:
            why = "; ".join(f"{site.name}: {site.reason}" for site in self.dropped.values())
            raise PeerError(
                f"round {self.instruction.round}: {error} ({why or 'nobody refused'}); "
                f"the model of the round before is kept, {_remedy(self.dropped.values())}"
            ) from None
        return SecureSum(
            total,
            lanes,
            tuple(self.project.roster.names[place] for place in survivors),
            self.dropped,
            time.perf_counter() - started,
            self.summing_seconds,
        )

    def _play(self) -> tuple[Planes, Lanes, tuple[int, ...]]:
        terms = terms_of(self.instruction, self.project)
        roster = self.project.roster
        everyone = [roster.place_of(site) for site in self.cohort]

        advertising = Advertising(terms, roster.identities)
        exchange(
            self.grid,
            self._address(TRAIN, dict.fromkeys(everyone, self.instruction.to_records())),
            timeout_seconds=self._timeout_seconds,
            on_reply=self._judge(lambda site, step: advertising.take(site, Advert.from_bytes(step.body))),
        )
        sharing: Sharing = advertising.close()
        adverts = adverts_to_bytes(sharing.cohort.adverts)
        self._ask(
            SHARE,
            dict.fromkeys(sharing.cohort.sites, adverts),
            lambda site, step: sharing.take(site, table_from_bytes(step.body, entry_bytes=SEALED_BYTES)),
        )
        summing: Summing = sharing.close()
        sealed = {site: table_to_bytes(sharing.for_site(site)) for site in summing.senders}
        self._ask(INPUT, sealed, lambda site, step: _add(summing, site, step))
        consenting: Consenting = summing.close()
        survivors = consenting.survivors
        self._ask(
            CONSENT,
            dict.fromkeys(survivors, sites_to_bytes(survivors)),
            lambda site, step: consenting.take(site, signature_from_bytes(step.body)),
        )
        unmasking: Unmasking = consenting.close()
        self._ask(
            REVEAL,
            dict.fromkeys(unmasking.signers, table_to_bytes(consenting.signatures)),
            lambda site, step: unmasking.take(site, Shares.from_bytes(step.body)),
        )
        started = time.perf_counter()
        total, lanes = unmasking.close(threads=self.project.spec.train.threads)
        self.summing_seconds += time.perf_counter() - started
        return total, lanes, survivors

    @property
    def _timeout_seconds(self) -> float:
        return self.project.spec.federation.reply_timeout_seconds

    def _ask(self, kind: str, bodies: Mapping[int, bytes], take: Take) -> None:
        """An exchange of small messages; whoever fails has dropped out."""
        number, attempt = self.instruction.round, self.instruction.attempt
        records = {site: Step(number, attempt, body).to_records() for site, body in bodies.items()}
        exchange(
            self.grid,
            self._address(kind, records),
            timeout_seconds=self._timeout_seconds,
            on_reply=self._judge(take),
        )

    def _address(self, kind: str, records: Mapping[int, RecordDict]) -> dict[str, Message]:
        """Site -> its message; sites whose records are one object share it."""
        group, lifetime = str(self.instruction.round), 2 * self._timeout_seconds + 60
        names = {site: self.project.roster.names[site] for site in records}
        return {
            names[site]: Message(content, self.cohort[names[site]], kind, group_id=group, ttl=lifetime)
            for site, content in records.items()
        }

    def _judge(self, take: Take) -> Callable[[Reply], None]:
        """Gives a good reply to `take`; anything else is written down."""

        def judge(reply: Reply) -> None:
            if reply.message is None:
                self.dropped[reply.site] = reply.absence()
                return
            started = time.perf_counter()
            try:
                step = Step.from_records(reply.message.content)
                if (step.round, step.attempt) != (self.instruction.round, self.instruction.attempt):
                    raise IntegrityError("the answer belongs to another round or attempt")
                self.ledgers.remember(reply.site, step.ledger)
                take(self.project.roster.place_of(reply.site), step)
            except FederationError as error:
                log.warning("answer of %s refused: %s", reply.site, error)
                self.dropped[reply.site] = SiteRound(name=reply.site, status="refused", reason=str(error))
            self.summing_seconds += time.perf_counter() - started

        return judge


def _remedy(dropped: Iterable[SiteRound]) -> str:
    """What to do about a round that was stopped."""
    if any(Reason.SECOND_COHORT in (site.reason or "") for site in dropped):
        return (
            "which these sites summed with other members before: bring those back and run again with "
            "--resume, or let a new project start from the trained model (model.initial) or another seed"
        )
    return "mend the sites and run again with --resume"


def _add(summing: Summing, site: int, step: Step) -> None:
    if step.planes is None or step.lanes is None:
        raise IntegrityError("the answer carries no masked update")
    summing.take(site, step.planes, step.lanes)
