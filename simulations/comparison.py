"""Federated, central and local-only training on the same steps, side by side."""

from typing import Literal

from common.files import write_whole
from common.terminal import progress
from server.report.page import write_report
from server.report.records import COMPARISON_FILE, Comparison, read_rounds, read_run
from simulations.baselines import baselines_of, federated_record, train_baselines
from simulations.federation import Federation, default_workers, run_federation

CentralSteps = Literal["one-site", "all-sites"]
"""How long the central model trains: as many steps as each other model, or as all sites together."""


def compare(
    federation: Federation, *, workers: int | None = None, central_steps: CentralSteps = "one-site"
) -> Comparison:
    """Run the federation, train its baselines, and write comparison.json and the report beside the run."""
    run_federation(federation, workers=workers)
    out, spec = federation.out, federation.spec
    steps = spec.federation.rounds * spec.train.local_steps
    baselines = list(
        baselines_of(
            federation.project_folder,
            federation.sites,
            federation.bank,
            site_steps=steps,
            central_steps=steps * (len(federation.sites) if central_steps == "all-sites" else 1),
        )
    )
    with progress(f"{spec.name}: central and local-only", len(baselines)) as advance:
        trained = train_baselines(
            baselines,
            workers=workers or default_workers(spec, len(baselines)),
            on_done=lambda name: advance(1, name),
        )
    federated = federated_record(read_run(out), read_rounds(out), local_steps=spec.train.local_steps)
    comparison = Comparison(models=(federated, *trained), seeds=(spec.seed,))
    write_whole(out / COMPARISON_FILE, comparison.model_dump_json(indent=2).encode() + b"\n")
    write_report(out)
    return comparison
