"""The run's folder at the hub: what each round did, line by line, and at the end the whole run in one object.

rounds.jsonl   a line per round, appended whole
run.json       written once, at the end
"""

import math
from dataclasses import dataclass
from pathlib import Path

from common.files import write_whole
from common.project import Project
from common.store import Store
from common.update import instruction_bytes
from server.report.records import (
    PHASES,
    ROUNDS_FILE,
    PhaseSeconds,
    RoundRecord,
    SiteTotals,
    Traffic,
    read_rounds,
)


@dataclass(frozen=True)
class RoundClock:
    """Where the wall seconds of one round went."""

    total: float
    exchange: float
    """From the first push to the last reply, sums included."""
    training: float
    """While at least one site trained."""
    validation: float
    """While sites judged the incoming model, beyond training."""
    adding: float
    applying: float
    checkpoint: float
    evaluation: float

    def phases(self) -> PhaseSeconds:
        """By phase; what fits nowhere is `other`."""
        transfer = max(0.0, self.exchange - self.training - self.validation - self.adding)
        aggregation = self.adding + self.applying
        evaluation = self.evaluation + self.validation
        known = self.training + evaluation + aggregation + transfer + self.checkpoint
        return PhaseSeconds(
            training=self.training,
            evaluation=evaluation,
            aggregation=aggregation,
            transfer=transfer,
            checkpoint=self.checkpoint,
            other=max(0.0, self.total - known),
            total=self.total,
        )


def busy_seconds(seconds: list[float], parallel: int) -> float:
    """Wall time of sites of which `parallel` can work at once; a lower bound when they idle."""
    return max(max(seconds, default=0.0), math.fsum(seconds) / max(1, parallel))


class History:
    """`rounds.jsonl` of one run."""

    def __init__(self, run: Path) -> None:
        self._path = run / ROUNDS_FILE
        self.rounds: list[RoundRecord] = []
        self._lines: list[str] = []

    def resume(self, finished: int) -> bool:
        """Keep the rounds up to `finished`; a later line belongs to a round without a checkpoint.

        Returns:
            Whether the line of `finished` is there; a hub killed right after a checkpoint writes none.
        """
        if finished and self._path.exists() and self._path.stat().st_size:
            self.rounds = [record for record in read_rounds(self._path.parent) if record.round <= finished]
        self._lines = [_line(record) for record in self.rounds]
        self._write()
        return not finished or any(record.round == finished for record in self.rounds)

    def append(self, record: RoundRecord) -> None:
        """Add one round."""
        self.rounds.append(record)
        self._lines.append(_line(record))
        self._write()

    def _write(self) -> None:
        write_whole(self._path, "".join(self._lines).encode())

    def refused_last(self) -> tuple[str, ...]:
        """Sites that refused in the last round."""
        last = self.rounds[-1:]
        return tuple(site.name for record in last for site in record.sites if site.status == "refused")

    def seconds(self) -> PhaseSeconds:
        """Sums over all rounds."""
        return PhaseSeconds(
            **{
                phase: math.fsum(getattr(record.seconds, phase) for record in self.rounds)
                for phase in (*PHASES, "total")
            }
        )

    def traffic(self) -> Traffic:
        """Sums over all rounds."""
        return Traffic(
            up=sum(record.bytes.up for record in self.rounds),
            down=sum(record.bytes.down for record in self.rounds),
        )

    def overhead_share(self) -> float:
        """(round wall time - training - evaluation) / training, over all rounds."""
        seconds = self.seconds()
        return (seconds.total - seconds.training - seconds.evaluation) / max(seconds.training, 1e-9)

    def site_totals(
        self,
        project: Project,
        store: Store | None,
        name: str,
        *,
        epsilon: float | None = None,
        epsilon_alone: float | None = None,
    ) -> SiteTotals:
        """What one hospital gave and got; rows are zero where the hub does not hold the site's store.

        What secure aggregation hides of a hospital is null.
        """
        entries = [entry for record in self.rounds if (entry := record.site(name)) is not None]
        answered = [entry for entry in entries if entry.status == "ok"]
        layout = project.layout
        hidden = project.spec.secure_aggregation.mode == "sa1"
        return SiteTotals(
            name=name,
            train_rows=0 if store is None else len(store.rows("train")),
            test_rows=0 if store is None else len(store.rows("test")),
            patients=0 if store is None else store.manifest.num_patients,
            examples=None if hidden else sum(entry.examples or 0 for entry in answered),
            bytes_up=len(answered) * project.answer_bytes,
            bytes_down=len(entries) * instruction_bytes(layout.num_coordinates, len(layout.names)),
            rounds_completed=len(answered),
            seconds_training=None
            if hidden
            else math.fsum(entry.seconds_training or 0.0 for entry in answered),
            epsilon=epsilon,
            epsilon_alone=epsilon_alone,
        )


def _line(record: RoundRecord) -> str:
    return record.model_dump_json() + "\n"
