"""The top of the page: what came out, in one paragraph and a few figures."""

from collections.abc import Sequence
from dataclasses import dataclass

from server.report.records import FinalScores, RoundRecord, RunRecord, SiteTotals
from server.report.verdict import Verdict
from server.report.wording import counted, decimals, in_bytes, in_seconds, listed, thousands


@dataclass(frozen=True)
class Tile:
    """One figure that a reader should carry away."""

    label: str
    value: str
    detail: str = ""
    kind: str = ""
    """The kind of model it speaks of, for its colour; empty for none."""


def paragraph(run: RunRecord, rounds: Sequence[RoundRecord], verdict: Verdict | None) -> str:
    """Who took part, how much they trained on, what came out, what left each hospital."""
    sentences = [_who(run, rounds), _how_good(run.final), *_against(verdict, run), _what_left(run.sites)]
    absent = _absent(rounds)
    return " ".join([*sentences, absent] if absent else sentences)


def tiles(run: RunRecord, verdict: Verdict | None) -> list[Tile]:
    """The result, its comparison, and its price."""
    made = []
    mean = run.final.mean_auroc
    if mean is not None:
        detail = f"95 % interval {mean.low:.3f}–{mean.high:.3f}"
        made.append(Tile("Mean zero-shot AUROC", f"{mean.value:.3f}", detail, "federated"))
    if verdict and verdict.ratio_to_central is not None:
        made.append(
            Tile(
                "Of central training",
                f"{100 * verdict.ratio_to_central:.1f} %",
                "federated over central mean",
                "central",
            )
        )
    if verdict and verdict.best_local and verdict.best_local.final.mean_auroc:
        best = verdict.best_local.final.mean_auroc.value
        made.append(Tile("Best hospital alone", f"{best:.3f}", verdict.best_local.name, "local"))
    made.append(Tile("Left each hospital", in_bytes(_mean_bytes(run.sites)), "mean over the whole run"))
    made.append(
        Tile("Wall time", in_seconds(run.seconds.total), f"{in_seconds(run.seconds.training)} of it training")
    )
    made.append(Tile("Federation overhead", f"{100 * run.overhead_share:.1f} %", "of training time"))
    return made


def _who(run: RunRecord, rounds: Sequence[RoundRecord]) -> str:
    names = listed([site.name for site in run.sites])
    rows = sum(site.train_rows for site in run.sites)
    patients = sum(site.patients for site in run.sites)
    done = len(rounds) if len(rounds) == run.rounds else f"{len(rounds)} of {run.rounds}"
    together = "together " if len(run.sites) > 1 else ""
    return (
        f"{counted(len(run.sites), 'hospital', 'hospitals')} ({names}) trained one vision-language model "
        f"{together}in {done} {'round' if done == 1 else 'rounds'}, on {thousands(rows)} rows of images "
        f"and reports from {counted(patients, 'patient', 'patients')}, none of which left its hospital."
    )


def _how_good(final: FinalScores) -> str:
    mean = final.mean_auroc
    if mean is not None:
        over = f" over {len(final.zero_shot)} tasks" if len(final.zero_shot) > 1 else ""
        return (
            f"On held-out patients of all hospitals its mean zero-shot AUROC{over} is {mean.value:.3f} "
            f"(95 % interval {mean.low:.3f} to {mean.high:.3f}; 0.5 is chance)."
        )
    ranks = [score.percentile_rank.value for score in final.retrieval]
    if ranks:
        return (
            "No held-out patient is labelled, so there is no AUROC; within a hospital a correct match "
            f"outranks a random wrong one with probability {sum(ranks) / len(ranks):.3f} (0.5 is chance)."
        )
    return "No held-out patient is labelled and no retrieval was asked for, so nothing says how good it is."


def _against(verdict: Verdict | None, run: RunRecord) -> list[str]:
    if verdict is None or run.final.mean_auroc is None:
        return []
    sentences = []
    if verdict.ratio_to_central is not None:
        percent = 100 * verdict.ratio_to_central
        sentences.append(
            f"That is {percent:.1f} % of what training with all data in one place reaches"
            f"{_in_steps(verdict.central_steps)}."
        )
    if verdict.best_local is not None and verdict.above_every_local is not None:
        best = verdict.best_local
        mean = decimals(best.final.mean_auroc.value if best.final.mean_auroc else None)
        than = "above" if verdict.above_every_local else "not above"
        sentences.append(
            f"It is {than} every model that a hospital trains alone (the best: {best.name}, {mean})."
        )
    return sentences


def _in_steps(ratio: float | None) -> str:
    if ratio is None:
        return ""
    return " in as many optimiser steps" if ratio == 1 else f" in {ratio:g} times a site's optimiser steps"


def _what_left(sites: Sequence[SiteTotals]) -> str:
    low, high = min(site.bytes_up for site in sites), max(site.bytes_up for site in sites)
    if in_bytes(low) == in_bytes(high):
        return f"What left each hospital over the whole run: {in_bytes(high)}."
    return f"What left each hospital over the whole run: {in_bytes(low)} to {in_bytes(high)}."


def _absent(rounds: Sequence[RoundRecord]) -> str:
    refused, late = (
        sum(site.status == status for record in rounds for site in record.sites)
        for status in ("refused", "late")
    )
    if not refused and not late:
        return ""
    times = counted(refused + late, "time", "times")
    return f"A hospital did not take part {times} ({refused} refused, {late} late); see Hospitals."


def _mean_bytes(sites: Sequence[SiteTotals]) -> float:
    return sum(site.bytes_up for site in sites) / len(sites)
