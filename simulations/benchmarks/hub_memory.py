"""How much memory the hub needs, and whether that grows with the number of hospitals.

Each number of sites is a run of the whole ServerApp in a fresh process: model, rounds, checkpoints, export.
Only the sites are not real; what they answer was made before, by this process.
"""

import json
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from common.errors import ConfigurationError
from common.project import Project, create_project
from common.roster import Roster, make_roster
from common.spec.run import Spec, parse_spec
from common.spec.secure_aggregation import SMALLEST_COHORT
from common.update import MAX_SITES
from simulations.benchmarks.fresh import run_fresh
from simulations.benchmarks.made_answer import made_answer, write_answer
from simulations.benchmarks.secure_sites import roster_member, signing_key

BLOCKS = 16
"""Transformer blocks of both towers together; most of the parameters are theirs, 12 width^2 each."""
HEADS = 4
SECURE = {"mode": "sa1", "min_sites": SMALLEST_COHORT, "rare_rows": "frozen"}
PROGRAM = "from simulations.benchmarks.hub_process import main; main()"


@dataclass(frozen=True)
class HubPeak:
    """One measured hub."""

    sites: int
    base_bytes: int
    """Resident before the run: Python and its libraries."""
    peak_bytes: int
    """Largest resident set of the whole run."""
    seconds: float

    def models_above_base(self, model_bytes: int) -> float:
        """The peak in sizes of the float32 model."""
        return (self.peak_bytes - self.base_bytes) / model_bytes


@dataclass(frozen=True)
class HubMemory:
    """Peaks of hubs that differ only in the number of sites."""

    parameters: int
    rounds: int
    hubs: tuple[HubPeak, ...]

    @property
    def model_bytes(self) -> int:
        """The model as float32."""
        return 4 * self.parameters

    @property
    def growth(self) -> float:
        """Peak with the most sites over peak with the fewest; 1 is flat."""
        ordered = sorted(self.hubs, key=lambda hub: hub.sites)
        return ordered[-1].peak_bytes / ordered[0].peak_bytes

    def to_json(self) -> dict[str, object]:
        """As `--json` prints it."""
        return {
            "benchmark": "hub-memory",
            "parameters": self.parameters,
            "model_bytes": self.model_bytes,
            "rounds": self.rounds,
            "sites": [hub.sites for hub in self.hubs],
            "base_bytes": [hub.base_bytes for hub in self.hubs],
            "peak_bytes": [hub.peak_bytes for hub in self.hubs],
            "peak_models_above_base": [hub.models_above_base(self.model_bytes) for hub in self.hubs],
            "growth": self.growth,
            "seconds": [hub.seconds for hub in self.hubs],
        }


def measure_hub(
    *,
    parameters: int,
    site_counts: Sequence[int] = (4, 16),
    rounds: int = 2,
    secure: bool = False,
    on_stage: Callable[[str], None] = lambda _: None,
) -> HubMemory:
    """Run a hub for each number of sites.

    Args:
        parameters: about how many the model should have.
        site_counts: sites of each hub.
        rounds: of each run; from the second on, the round before could still be held.
        secure: with secure aggregation, for which a federation needs three sites.
        on_stage: told what is about to run.

    Raises:
        ConfigurationError: a federation cannot have so many sites.
        WithheldError: a run failed.
    """
    fewest = SMALLEST_COHORT if secure else 1
    if not all(fewest <= sites <= MAX_SITES for sites in site_counts):
        raise ConfigurationError(f"--sites must lie between {fewest} and {MAX_SITES}")
    with tempfile.TemporaryDirectory(prefix="fedvlp-bench-") as name:
        folder, hubs, found = Path(name), [], 0
        for sites in site_counts:
            on_stage(f"hub with {sites} sites, {rounds} rounds")
            spec = hub_spec(parameters, sites=sites, rounds=rounds, secure=secure)
            names = [f"site-{number:03d}" for number in range(1, sites + 1)]
            roster = _roster(spec, names) if secure else None
            project = create_project(folder / f"project-{sites}", spec, sites=names, bank=None, roster=roster)
            if not found:
                found = project.layout.num_coordinates
                write_answer(folder / "answer", made_answer(project))
            hubs.append(_measure(folder, project))
    return HubMemory(parameters=found, rounds=rounds, hubs=tuple(hubs))


def hub_spec(parameters: int, *, sites: int, rounds: int, secure: bool = False) -> Spec:
    """A spec whose model has about `parameters` parameters; nobody trains it."""
    width = max(HEADS * 2, HEADS * round(math.sqrt(parameters / (12 * BLOCKS)) / HEADS))
    return parse_spec(
        {
            "name": "hub-benchmark",
            "model": {
                "image_size": 32,
                "embedding_width": width,
                "image": {"encoder": "vit", "width": width, "depth": BLOCKS // 2, "heads": HEADS},
                "text": {"width": width, "depth": BLOCKS // 2, "heads": HEADS, "vocabulary_size": 256},
            },
            "objectives": {"global_contrastive": {}},
            "data": {"batch_size": 2, "anchor_pairs": 0, "images": {"burned_in": "keep"}},
            "train": {"local_steps": 1, "vocabulary_rows": "frozen" if secure else "trained"},
            "federation": {"rounds": rounds, "min_sites": sites},
            "privacy": {"mode": "none"},
            "secure_aggregation": SECURE if secure else {"mode": "off"},
            "evaluation": {"retrieval": False, "bootstrap_draws": 100},
        },
        where="hub memory benchmark",
    )


def _roster(spec: Spec, names: Sequence[str]) -> Roster:
    roster = make_roster(
        version=1,
        expires=datetime.now(UTC) + timedelta(days=1),
        members=tuple(roster_member(name) for name in names),
        min_sites=SMALLEST_COHORT,
        weight_cap=spec.federation.weight_cap,
        profiles=(spec.federation.profile,),
    )
    for name in names:
        roster = roster.signed_by(name, signing_key(name))
    return roster


def _measure(folder: Path, project: Project) -> HubPeak:
    sites = len(project.manifest.sites)
    out, result = folder / f"run-{sites}", folder / f"result-{sites}.json"
    arguments = [str(path) for path in (project.folder, folder / "answer", out, result)]
    seconds = run_fresh(PROGRAM, arguments, log=folder / f"hub-{sites}.log")
    measured = json.loads(result.read_text())
    return HubPeak(sites, measured["base"], measured["peak"], seconds)
