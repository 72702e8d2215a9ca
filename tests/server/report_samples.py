"""Made-up records of runs, written once for every test of the report."""

import json
import math
from pathlib import Path
from typing import Any

PHASES = ("training", "evaluation", "aggregation", "transfer", "checkpoint", "other")
TASKS = (
    "cardiomegaly", "effusion", "pneumothorax", "consolidation", "nodule", "device", "no_finding",
)  # fmt: skip
NAMES = (
    "lakeside", "st-brigid", "harbour", "north-general", "river-ct", "spine-clinic", "abdominal-centre",
    "hillcrest", "easton", "mercy", "valley", "st-olaf", "kings-road", "bayview", "oakfield", "riverside",
    "trinity", "westgate", "ashdown", "millbrook",
)  # fmt: skip


def interval(value: float, half: float = 0.03) -> dict[str, float]:
    return {"value": value, "low": value - half, "high": value + half}


def final(
    mean: float, *, tasks: tuple[str, ...] = TASKS, sites: tuple[str, ...] = NAMES[:3]
) -> dict[str, Any]:
    scores = [
        {
            "task": task,
            "auroc": interval(_around(mean, index)),
            "positives": 31 + index,
            "negatives": 190 - index,
        }
        for index, task in enumerate(tasks)
    ]
    return {
        "zero_shot": scores,
        "mean_auroc": interval(mean, 0.02) if tasks else None,
        "retrieval": [
            _retrieval(site, direction, index)
            for direction in ("image-to-report", "report-to-image")
            for index, site in enumerate(sites)
        ],
    }


def run_json(
    *,
    sites: tuple[str, ...] = NAMES[:3],
    rounds: int = 20,
    tasks: tuple[str, ...] = TASKS,
    mean: float = 0.8417,
    refusing: str = "",
) -> dict[str, Any]:
    return {
        "format": 1,
        "name": "chest-demo",
        "seed": 7,
        "engine": "inprocess",
        "spec_digest": "5f" * 32,
        "started": "2026-03-02T09:15:00+00:00",
        "rounds": rounds,
        "parameters": 4123456,
        "sites": [_site(name, index, 0 if name == refusing else rounds) for index, name in enumerate(sites)],
        "final": final(mean, tasks=tasks, sites=sites),
        "seconds": seconds(251.7),
        "bytes": {"up": 12_340_000 * rounds * len(sites), "down": 16_480_000 * rounds * len(sites)},
        "overhead_share": 0.0213,
        "weights_sha256": "c4" * 32,
        "privacy": None,
    }


def rounds_jsonl(
    *,
    sites: tuple[str, ...] = NAMES[:3],
    rounds: int = 20,
    tasks: tuple[str, ...] = TASKS,
    mean: float = 0.8417,
    refusing: str = "",
    late: str = "",
) -> list[dict[str, Any]]:
    return [
        _round(number, rounds, sites=sites, tasks=tasks, mean=mean, refusing=refusing, late=late)
        for number in range(1, rounds + 1)
    ]


def comparison_json(
    *,
    sites: tuple[str, ...] = NAMES[:3],
    tasks: tuple[str, ...] = TASKS,
    federated: float = 0.8417,
    central: float = 0.8583,
) -> dict[str, Any]:
    local = [("local", site, 0.74 - 0.017 * index) for index, site in enumerate(sites)]
    models = [
        {
            "name": f"{site} alone" if site else kind,
            "kind": kind,
            "site": site,
            "final": final(mean, tasks=tasks, sites=sites),
            "curve": [
                {"steps": 40 * step, "mean_auroc": _learned(mean, step / 20) if tasks else None}
                for step in range(1, 21)
            ],
            "seconds": 61.5,
        }
        for kind, site, mean in [*local, ("central", None, central), ("federated", None, federated)]
    ]
    return {"models": models, "seeds": [7, 8, 9]}


def write_run(
    folder: Path, run: dict[str, Any], rounds: list[dict[str, Any]], comparison: dict[str, Any] | None = None
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps(run))
    (folder / "rounds.jsonl").write_text("".join(json.dumps(line) + "\n" for line in rounds))
    if comparison is not None:
        (folder / "comparison.json").write_text(json.dumps(comparison))
    return folder


def seconds(total: float) -> dict[str, float]:
    shares = dict(zip(PHASES, (0.81, 0.12, 0.02, 0.02, 0.02, 0.01), strict=True))
    return {phase: share * total for phase, share in shares.items()} | {"total": total}


def _site(name: str, index: int, rounds: int) -> dict[str, Any]:
    return {
        "name": name,
        "train_rows": 310 + 41 * index,
        "test_rows": 88 + 7 * index,
        "patients": 280 + 37 * index,
        "examples": (310 + 41 * index) * rounds,
        "bytes_up": 12_340_000 * rounds,
        "bytes_down": 16_480_000 * rounds,
        "rounds_completed": rounds,
        "seconds_training": 3.1 * rounds + index,
        "epsilon": None,
    }


def _round(
    number: int,
    rounds: int,
    *,
    sites: tuple[str, ...],
    tasks: tuple[str, ...],
    mean: float,
    refusing: str,
    late: str,
) -> dict[str, Any]:
    done = number / rounds
    turns = [
        _turn(name, index, number, done, refusing=refusing, late=late) for index, name in enumerate(sites)
    ]
    return {
        "round": number,
        "sites": turns,
        "cohort": _cohort(turns),
        "evaluation": {
            "mean_auroc": _learned(mean, done) if tasks else None,
            "zero_shot": {task: _learned(_around(mean, index), done) for index, task in enumerate(tasks)},
        },
        "seconds": seconds(12.4 + 0.6 * math.sin(number)),
        "bytes": {"up": 12_340_000 * len(sites), "down": 16_480_000 * len(sites)},
        "update_norm": 3.2 * math.exp(-2 * done),
        "clipped_share": 0.004 * math.exp(-3 * done),
    }


def _turn(name: str, index: int, number: int, done: float, *, refusing: str, late: str) -> dict[str, Any]:
    absent = "refused" if name == refusing else "late" if name == late and number % 4 == 2 else ""
    if absent:
        reason = "the bundle is not approved here" if absent == "refused" else "no answer within 600 s"
        return {"name": name, "status": absent, "reason": reason}
    losses = {
        "global_contrastive": 3.9 - 1.9 * done + 0.12 * math.sin(number + index),
        "masked_language": 6.1 * math.exp(-1.5 * done) + 0.4 + 0.05 * index,
        "masked_image": 0.9 * math.exp(-2 * done) + 0.21 + 0.01 * index,
    }
    return {
        "name": name,
        "status": "ok",
        "reason": None,
        "examples": 310 + 41 * index,
        "seconds_training": 3.1,
        "losses": losses,
        "validation": {objective: 1.06 * loss for objective, loss in losses.items()},
    }


def _cohort(turns: list[dict[str, Any]]) -> dict[str, Any]:
    """As if all had as many rows."""
    there = [turn for turn in turns if turn["status"] == "ok"]
    means = {
        moment: {name: sum(turn[moment][name] for turn in there) / len(there) for name in there[0][moment]}
        for moment in ("losses", "validation")
    }
    return {"examples": sum(turn["examples"] for turn in there), **means}


def _retrieval(site: str, direction: str, index: int) -> dict[str, Any]:
    recall = {"1": 0.11 + 0.02 * index % 0.3, "5": 0.36 + 0.01 * index, "10": 0.52 + 0.01 * index}
    return {
        "site": site,
        "queries": 88 + 7 * index,
        "direction": direction,
        "recall": {cut: interval(value, 0.05) for cut, value in recall.items()},
        "chance": {"1": 0.012, "5": 0.058, "10": 0.115},
        "percentile_rank": interval(0.871 - 0.004 * index),
    }


def _around(mean: float, index: int) -> float:
    return min(mean + 0.03 * math.sin(2.1 * index), 0.99)


def _learned(end: float, done: float) -> float:
    return 0.5 + (end - 0.5) * (1 - math.exp(-4 * done)) / (1 - math.exp(-4))
