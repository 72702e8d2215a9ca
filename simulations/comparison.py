"""Federated, central and local-only training on the same steps, side by side."""

from common.files import write_whole
from common.terminal import progress
from server.report.page import write_report
from server.report.records import COMPARISON_FILE, Comparison, read_rounds, read_run
from simulations.baselines import baselines_of, federated_record, train_baselines
from simulations.federation import Federation, default_workers, run_federation


def compare(federation: Federation, *, workers: int | None = None) -> Comparison:
    """Run the federation, train its baselines, and write comparison.json and the report beside the run."""
    run_federation(federation, workers=workers)
    out = federation.out
    baselines = list(baselines_of(federation.project_folder, federation.sites, federation.bank))
    with progress(f"{federation.spec.name}: central and local-only", len(baselines)) as advance:
        trained = train_baselines(
            baselines,
            workers=workers or default_workers(federation.spec, len(baselines)),
            on_done=lambda name: advance(1, name),
        )
    federated = federated_record(read_run(out), read_rounds(out))
    comparison = Comparison(models=(federated, *trained), seeds=(federation.spec.seed,))
    write_whole(out / COMPARISON_FILE, comparison.model_dump_json(indent=2).encode() + b"\n")
    write_report(out)
    return comparison
