"""The question a consortium asks first: did training together pay?"""

from collections.abc import Sequence
from dataclasses import dataclass

from server.report.records import Comparison, FinalScores, ModelRecord, RunRecord

NEAR_CENTRAL = 0.97
"""Share of central training's mean AUROC that a federation should reach (DESIGN, section 10)."""


@dataclass(frozen=True)
class Verdict:
    """The federated model against central training and the best hospital alone; None where not known."""

    ratio_to_central: float | None
    """Federated mean AUROC over central mean AUROC."""
    central_steps: float | None
    """Optimiser steps of central training over those of one site."""
    best_local: ModelRecord | None
    above_every_local: bool | None

    @property
    def near_central(self) -> bool | None:
        """Whether the ratio reaches `NEAR_CENTRAL`."""
        return None if self.ratio_to_central is None else self.ratio_to_central >= NEAR_CENTRAL


def judge(comparison: Comparison) -> Verdict:
    """Compare mean zero-shot AUROC; a tie with a local model is not above it."""
    federated = next(model for model in comparison.models if model.kind == "federated")
    central = next((model for model in comparison.models if model.kind == "central"), None)
    local = [model for model in comparison.models if model.kind == "local" and model.final.mean_auroc]
    best = max(local, key=lambda model: _mean(model.final), default=None)
    steps = _steps(central) / _steps(federated) if central and _steps(central) and _steps(federated) else None
    if federated.final.mean_auroc is None:
        return Verdict(ratio_to_central=None, central_steps=steps, best_local=best, above_every_local=None)
    reached = federated.final.mean_auroc.value
    return Verdict(
        ratio_to_central=reached / _mean(central.final) if central and _mean(central.final) > 0 else None,
        central_steps=steps,
        best_local=best,
        above_every_local=reached > _mean(best.final) if best else None,
    )


def models_of(run: RunRecord, comparison: Comparison | None) -> tuple[ModelRecord, ...]:
    """Federated, central, then local models; the federated model alone without a comparison."""
    if comparison is None:
        alone = ModelRecord(name="federated", kind="federated", final=run.final, seconds=run.seconds.total)
        return (alone,)
    order = {"federated": 0, "central": 1, "local": 2}
    return tuple(sorted(comparison.models, key=lambda model: order[model.kind]))


def tasks_of(models: Sequence[ModelRecord]) -> tuple[str, ...]:
    """Every task that any model was asked, in the order of first appearance."""
    return tuple(dict.fromkeys(score.task for model in models for score in model.final.zero_shot))


def _steps(model: ModelRecord) -> int:
    return model.curve[-1].steps if model.curve else 0


def _mean(final: FinalScores) -> float:
    return final.mean_auroc.value if final.mean_auroc else 0.0
