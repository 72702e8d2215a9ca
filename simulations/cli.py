"""`fedvlp-sim`: a researcher's federations on one machine.

What a command needs is imported when it runs: torch and transformers take seconds.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # worker processes whose threads spin take 3 times as long
os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")
os.environ.setdefault("FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
# Else plug-ins are looked for in every installed package; torch's would be for devices that no spec names.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
os.environ.setdefault("TORCH_DEVICE_BACKEND_AUTOLOAD", "0")

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from common.loading import loading
from common.spec.run import read_spec
from common.terminal import progress, run_command
from simulations.attacks.cli import attack
from simulations.benchmarks.cli import bench
from simulations.privacy_cli import privacy
from simulations.sites import parse_sites

cli = typer.Typer(
    suggest_commands=False,
    rich_markup_mode="markdown",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    help="Federations on one machine: fast, and repeatable to the bit.",
)
cli.add_typer(attack, name="attack")
cli.add_typer(bench, name="bench")
cli.add_typer(privacy, name="privacy")


class EngineChoice(StrEnum):
    """Where the federation runs."""

    inprocess = "inprocess"
    deployment = "deployment"
    ray = "ray"


class CentralStepsChoice(StrEnum):
    """How long the central model of a comparison trains."""

    one_site = "one-site"
    all_sites = "all-sites"


SpecFile = Annotated[Path, typer.Argument(metavar="SPEC.toml", help="The run spec.")]
Sites = Annotated[
    list[str], typer.Option("--site", metavar="NAME=STORE", help="A hospital and its store; repeat for each.")
]
Bank = Annotated[Path | None, typer.Option(help="Store of the public bank, for specs with anchor pairs.")]
Out = Annotated[Path, typer.Option(help="Folder for everything that is written.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Sites that train at once.  [default: one per core]")
]


@cli.command("run")
def run_command_(
    spec: SpecFile,
    site: Sites,
    out: Out,
    bank: Bank = None,
    engine: Annotated[
        EngineChoice, typer.Option(help="inprocess, a real deployment on loopback, or Ray.")
    ] = (EngineChoice.inprocess),
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the spec's seed.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last finished round in --out.")
    ] = False,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Train one federation and judge its model.

    Writes run.json, rounds.jsonl, checkpoints/, model/ and report.html to --out.
    """
    with loading():
        from server.report.page import write_report
        from simulations.federation import Federation, run_federation

    if engine is EngineChoice.inprocess:
        _prepare_workers(workers)
    federation = Federation(read_spec(spec, seed=seed), parse_sites(site), bank, out)
    run_federation(federation, engine=engine.value, resume=resume, workers=workers)
    write_report(out)
    _tell(out, as_json=as_json)


@cli.command("compare")
def compare_command(
    spec: SpecFile,
    site: Sites,
    out: Out,
    bank: Bank = None,
    seed: Annotated[list[int] | None, typer.Option(min=0, help="Repeat for several seeds.")] = None,
    central_steps: Annotated[
        CentralStepsChoice, typer.Option(help="The central model takes the steps of one site, or of all.")
    ] = CentralStepsChoice.one_site,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Train federated, central and local-only models on the same steps, and set them side by side."""
    with loading():
        from simulations.comparison import compare
        from simulations.federation import Federation

    _prepare_workers(workers)
    sites = parse_sites(site)
    seeds: list[int | None] = [*seed] if seed else [None]
    for chosen in seeds:
        folder = out if len(seeds) == 1 else out / f"seed-{chosen}"
        federation = Federation(read_spec(spec, seed=chosen), sites, bank, folder)
        compare(federation, workers=workers, central_steps=central_steps.value)
        _tell(folder, as_json=as_json)


@cli.command("ablation")
def ablation_command(
    plan: Annotated[Path, typer.Argument(metavar="PLAN.toml", help="The variants of a spec, and the seeds.")],
    site: Sites,
    out: Out,
    bank: Bank = None,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Train variants of one spec with several seeds, and say which differences are more than chance.

    Writes ablation.md, ablation.csv, ablation.json and ablation.svg to --out; goes on where it was stopped.
    """
    with loading():
        from simulations.ablation.pages import terminal_table, write_pages
        from simulations.ablation.plan import read_plan
        from simulations.ablation.running import run_ablation, runs_of
        from simulations.ablation.verdict import judge_ablation

    _prepare_workers(workers)
    read, specs = read_plan(plan)
    total = len(list(runs_of(read)))
    outcomes = run_ablation(
        read,
        specs,
        sites=parse_sites(site),
        bank=bank,
        out=out,
        workers=workers,
        on_done=lambda number, name: print(f"ablation: {number}/{total} {name}", file=sys.stderr, flush=True),
    )
    verdicts = judge_ablation(read, outcomes)
    write_pages(out, read, verdicts)
    if as_json:
        print(json.dumps([verdict.to_json() for verdict in verdicts]))
        return
    Console().print(terminal_table(read, verdicts))
    print(f"tables and chart: {out / 'ablation.md'}, {out / 'ablation.csv'}, {out / 'ablation.svg'}")


@cli.command("pooled")
def pooled_command(
    plan: Annotated[Path, typer.Argument(metavar="PLAN.toml", help="The variants, the steps and the seeds.")],
    site: Sites,
    out: Out,
    bank: Bank = None,
) -> None:
    """Train variants of one spec on pooled rows, and measure images, targets and guesses beside questions.

    Writes pooled.md and pooled.csv to --out; goes on where it was stopped.
    """
    from simulations.ablation.plan import read_plan_of
    from simulations.pooled_study.pages import write_pages
    from simulations.pooled_study.plan import PooledPlan
    from simulations.pooled_study.running import run_pooled_study

    read, specs = read_plan_of(PooledPlan, plan)
    found = run_pooled_study(
        read,
        specs,
        sites=parse_sites(site),
        bank=bank,
        out=out,
        on_done=lambda name: print(f"pooled: {name}", file=sys.stderr, flush=True),
    )
    write_pages(out, read, found)
    print(f"tables: {out / 'pooled.md'}, {out / 'pooled.csv'}")


@cli.command("phantom")
def phantom_command(
    out: Annotated[Path, typer.Argument(help="A folder that is absent or empty.")],
    hospitals: Annotated[int, typer.Option(min=1, help="Hospitals, besides the bank.")] = 4,
    studies: Annotated[int, typer.Option(help="Mean number of studies of a hospital.")] = 300,
    bank_studies: Annotated[int, typer.Option(help="Studies of the public bank; 0 for none.")] = 300,
    seed: Annotated[int, typer.Option(min=0, help="From which everything is drawn.")] = 0,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that draw studies.  [default: one per core]")
    ] = None,
) -> None:
    """Make phantom hospitals: DICOM radiographs, reports in house style and, beside them, the truth."""
    from simulations.phantom.folders import make_hospitals

    with progress("phantom hospitals: studies", hospitals * studies + bank_studies) as advance:
        folders = make_hospitals(
            out,
            hospitals=hospitals,
            studies=studies,
            bank_studies=bank_studies,
            seed=seed,
            workers=workers or os.cpu_count() or 1,
            on_study=lambda: advance(1, ""),
        )
    typer.echo(f"{', '.join(folder.name for folder in folders)} in {out}")


@cli.command("demo")
def demo_command(
    out: Annotated[Path, typer.Option(help="A folder that is absent or empty.")] = Path("demo"),
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the demo's seed.")] = None,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Phantom hospitals, a federated run, and its comparison with central and local-only training."""
    with loading():
        from simulations.demo import run_demo

    _prepare_workers(workers)
    run_demo(out, seed=seed, workers=workers or os.cpu_count() or 1)
    _tell(out, as_json=as_json)


def _prepare_workers(workers: int | None) -> None:
    """Let workers be forked from what is imported by now; one worker is this process itself."""
    from simulations.nursery import fork_nursery

    if (workers or os.cpu_count() or 1) > 1:
        fork_nursery()


def _tell(out: Path, *, as_json: bool) -> None:
    from server.report.records import ROUNDS_FILE, RUN_FILE, read_run
    from server.report.table import comparison_table

    if as_json:
        print(json.dumps(json.loads((out / RUN_FILE).read_text())))
        return
    run = read_run(out)
    Console().print(comparison_table(out))
    print(
        f"{run.rounds} rounds, {len(run.sites)} sites, {run.seconds.total:.0f} s, "
        f"{run.bytes.up / 1e6:.1f} MB up; overhead {100 * run.overhead_share:.1f} % of training"
    )
    for site in run.sites:
        if site.rounds_completed < run.rounds:
            print(
                f"{site.name} took part in {site.rounds_completed} of {run.rounds} rounds: "
                f"{out / ROUNDS_FILE} says why"
            )
    print(f"report: {out / 'report.html'}")


def main() -> None:
    """Run `fedvlp-sim`, and raise SystemExit."""
    sys.exit(run_command(cli, "fedvlp-sim"))
