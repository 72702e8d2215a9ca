"""What the objectives cost, summed so that rounds and hospitals add up."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from common.objectives.base import Loss


@dataclass
class LossSums:
    """What the objectives cost, kept as sums so that rounds and hospitals add up."""

    totals: dict[str, float] = field(default_factory=dict)
    """Objective -> sum over rows of the loss."""
    rows: dict[str, int] = field(default_factory=dict)
    skipped: int = 0
    """Batches that had no row for any objective."""

    def add(self, name: str, mean: float, rows: int) -> None:
        """Count `rows` more rows of mean loss `mean`."""
        self.totals[name] = self.totals.get(name, 0.0) + mean * rows
        self.rows[name] = self.rows.get(name, 0) + rows

    def add_all(self, found: Mapping[str, Loss]) -> None:
        """Count what every objective says about one batch."""
        for name, loss in found.items():
            self.add(name, loss.mean.item(), loss.rows)

    def means(self) -> dict[str, float]:
        """Objective -> mean loss per row."""
        return {name: self.totals[name] / rows for name, rows in self.rows.items() if rows}
