"""A site's rounds of secure aggregation between two messages: sealed on its disc, and written down for good.

HOME/secagg/stage          the site's stage, sealed under the site's sealing key
HOME/secagg/update         the update that waits to be masked, sealed under a key in the stage's seal
HOME/secagg/rounds.sqlite  what was consumed and unmasked

A stage is on the disc before its message leaves, and a stage that revealed or refused is gone before anything
of it leaves. So a site that is killed between two messages goes on or drops out, and never reveals twice. A
hub that gives a round up tells nobody: the site finds out when the next one begins, and writes it down then.
"""

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from client.audit import Audit
from client.audit_line import Event
from common.files import whole_file, write_whole
from common.messages import CONSENT, INPUT, SHARE, TRAIN, Answer, Step
from common.secagg.abort import AbortError, Reason, refusal
from common.secagg.encoding import Item
from common.secagg.keys import KEY_BYTES, SIGNATURE_BYTES, TAG_BYTES, Secret, derive, seal, unseal
from common.secagg.messages import (
    SEALED_BYTES,
    adverts_from_bytes,
    sites_from_bytes,
    table_from_bytes,
    table_to_bytes,
)
from common.secagg.site import (
    Advertised,
    Consented,
    Lanes,
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
from common.secagg.stages import stage_from_bytes, stage_to_bytes
from common.secagg.terms import Terms
from common.update import Planes

log = logging.getLogger("fedvlp")

S = TypeVar("S", bound=Stage)

ANSWERED = {Advertised: TRAIN, Shared: SHARE, Masked: INPUT, Consented: CONSENT}
"""Stage -> the message whose answer led to it."""

STAGE, UPDATE, DATABASE = "stage", "update", "rounds.sqlite"
SALT_BYTES = 32
PIECE_BYTES = 64 << 20
"""An update is sealed in pieces of this size, each under a key of its own."""

_TABLES = """
CREATE TABLE IF NOT EXISTS consumed (run BLOB PRIMARY KEY, attempt INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS unmasked (model BLOB PRIMARY KEY, survivors BLOB NOT NULL);
"""


@dataclass(frozen=True)
class SecureRounds:
    """The rounds of one member, kept in `folder`."""

    member: Member
    folder: Path
    sealing_key: Secret
    """Seals what lies in `folder`; whoever destroys it makes all of that unreadable, and the site stays who
    it is."""
    audit: Audit
    """Told of rounds that were begun and never finished."""
    threads: int = 1

    def open(self, terms: Terms, answer: Answer) -> Step:
        """Begin a round: keep the update sealed, answer with this site's keys."""
        with self._or_nothing():
            self._discard()
            stage, advert = advertise(self.member, terms, consumed=self._consumed(terms.run))
            with self._database() as database:
                database.execute("REPLACE INTO consumed VALUES (?, ?)", (terms.run, terms.attempt))
            self._keep_update(answer, terms)
            self._keep(stage)
            return Step(terms.round, terms.attempt, advert.to_bytes(), ledger=answer.ledger)

    def share(self, step: Step) -> Step:
        """Seal this site's secrets in shares for the others."""
        with self._on(step, "share", Advertised) as stage:
            following, sealed = share(self.member, stage, adverts_from_bytes(step.body))
            self._keep(following)
            return Step(step.round, step.attempt, table_to_bytes(sealed))

    def input(self, step: Step) -> Step:
        """Mask the update and let it go, once."""
        with self._on(step, "input", Shared) as stage:
            table = table_from_bytes(step.body, entry_bytes=SEALED_BYTES)
            planes, lanes = self._take_update(stage.keys.terms)
            following = mask(self.member, stage, table, planes, lanes, threads=self.threads)
            self._keep(following)
            (self.folder / UPDATE).unlink()
            stage.wipe()
            return Step(step.round, step.attempt, b"", planes, lanes)

    def consent(self, step: Step) -> Step:
        """Sign who the survivors are."""
        with self._on(step, "consent", Masked) as stage:
            before = self._unmasked(stage.cohort.terms)
            survivors = sites_from_bytes(step.body)
            following, signature = consent(self.member, stage, survivors, unmasked_before=before)
            self._keep(following)
            return Step(step.round, step.attempt, signature)

    def reveal(self, step: Step) -> Step:
        """Give the shares that take the masks off the sum, and forget the round."""
        with self._on(step, "reveal", Consented) as stage:
            shares = reveal(self.member, stage, table_from_bytes(step.body, entry_bytes=SIGNATURE_BYTES))
            terms = stage.masked.cohort.terms
            with self._database() as database:
                database.execute(
                    "REPLACE INTO unmasked VALUES (?, ?)",
                    (terms.model, b"".join(self.member.identities_of(stage.survivors))),
                )
            self._forget()
            stage.wipe()
            return Step(step.round, step.attempt, shares.to_bytes())

    # --- what is on the disc ------------------------------------------------------------------------------

    @contextmanager
    def _on(self, step: Step, name: str, kind: type[S]) -> Iterator[S]:
        """The stage that `step` finds this site in; whatever is wrong with it ends the round here."""
        with self._or_nothing():
            stage = self._read()
            terms = None if stage is None else _terms_of(stage)
            if terms is None or (terms.round, terms.attempt) != (step.round, step.attempt):
                raise refusal(Reason.OUT_OF_ORDER, f"no such round is open here at '{name}'")
            if not isinstance(stage, kind):
                raise refusal(Reason.OUT_OF_ORDER, f"'{name}' does not follow '{type(stage).__name__}'")
            yield stage

    @contextmanager
    def _or_nothing(self) -> Iterator[None]:
        """After a refusal or a failure nothing of the round is left."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            yield
        except BaseException:
            self._forget()
            raise

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        """One transaction, on the disc when the block ends."""
        with closing(sqlite3.connect(self.folder / DATABASE)) as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            database.executescript(_TABLES)
            with database:
                yield database

    def _consumed(self, run: bytes) -> int:
        with self._database() as database:
            found = database.execute("SELECT attempt FROM consumed WHERE run = ?", (run,)).fetchone()
        return int(found[0]) if found else 0

    def _unmasked(self, terms: Terms) -> list[bytes] | None:
        """Identities of the survivors of the sum that this site unmasked on the same model, if it did."""
        with self._database() as database:
            found = database.execute(
                "SELECT survivors FROM unmasked WHERE model = ?", (terms.model,)
            ).fetchone()
        if found is None:
            return None
        listed = bytes(found[0])
        return [listed[begin : begin + KEY_BYTES] for begin in range(0, len(listed), KEY_BYTES)]

    def _keep(self, stage: Stage) -> None:
        salt = os.urandom(SALT_BYTES)
        sealed = seal(self._key(salt, "stage"), stage_to_bytes(stage), b"stage")
        write_whole(self.folder / STAGE, salt + sealed, mode=0o600)

    def _read(self) -> Stage | None:
        path = self.folder / STAGE
        if not path.exists():
            return None
        data = path.read_bytes()
        return stage_from_bytes(unseal(self._key(data[:SALT_BYTES], "stage"), data[SALT_BYTES:], b"stage"))

    def _keep_update(self, answer: Answer, terms: Terms) -> None:
        salt = os.urandom(SALT_BYTES)
        with whole_file(self.folder / UPDATE, mode=0o600) as file:
            file.write(salt)
            for name, array in _arrays(answer.planes, answer.sums).items():
                content = array.view(np.uint8)
                for begin in range(0, len(content), PIECE_BYTES):
                    key = self._key(salt, "update", name, begin)
                    file.write(seal(key, content[begin : begin + PIECE_BYTES].tobytes(), terms.digest()))

    def _take_update(self, terms: Terms) -> tuple[Planes, Lanes]:
        """The update that `_keep_update` wrote, in arrays that can be masked in place."""
        planes = Planes(
            np.empty(terms.coordinates, np.uint16),
            np.empty(terms.coordinates, np.uint8) if terms.word_bits == 24 else None,
        )
        lanes = np.empty(terms.lanes, np.uint64)
        with (self.folder / UPDATE).open("rb") as file:
            salt = file.read(SALT_BYTES)
            for name, array in _arrays(planes, lanes).items():
                content = array.view(np.uint8)
                for begin in range(0, len(content), PIECE_BYTES):
                    size = min(PIECE_BYTES, len(content) - begin)
                    key = self._key(salt, "update", name, begin)
                    plain = unseal(key, file.read(size + TAG_BYTES), terms.digest())
                    content[begin : begin + size] = np.frombuffer(plain, np.uint8)
        return planes, lanes

    def _key(self, salt: bytes, *purpose: Item) -> bytes:
        """A key for one text on this site's disc."""
        return derive(self.sealing_key.expose(), salt, "SA-1 disc", *purpose)

    def _discard(self) -> None:
        """Forget a round that the hub gave up, or that this site fell out of, and write that down."""
        with suppress(AbortError):  # a stage that was tampered with is no round
            if (stage := self._read()) is not None:
                terms, last = _terms_of(stage), ANSWERED[type(stage)]
                reason = f"never finished; the hub's last word that was answered is {last}"
                log.warning("round %d, attempt %d: %s", terms.round, terms.attempt, reason)
                self.audit.append(
                    Event(
                        event="DISCARDED",
                        stage=last,
                        round=terms.round,
                        attempt=terms.attempt,
                        reason=reason,
                    )
                )
        self._forget()

    def _forget(self) -> None:
        for name in (STAGE, UPDATE):
            (self.folder / name).unlink(missing_ok=True)


def _terms_of(stage: Stage) -> Terms:
    match stage:
        case Advertised():
            return stage.terms
        case Shared():
            return stage.keys.terms
        case Masked():
            return stage.cohort.terms
        case Consented():
            return stage.masked.cohort.terms


def _arrays(planes: Planes, lanes: Lanes) -> dict[str, npt.NDArray[np.unsignedinteger]]:
    """All numbers of an update, by name."""
    arrays: dict[str, npt.NDArray[np.unsignedinteger]] = {"low": planes.low, "lanes": lanes}
    return arrays if planes.high is None else {**arrays, "high": planes.high}
