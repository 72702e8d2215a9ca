"""`fedvlp-sim privacy`: what a promise costs."""

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from simulations.sites import parse_sites

privacy = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    help="Plan differential privacy before training.",
)


class MechanismChoice(StrEnum):
    """How patients are put together."""

    R = "R"
    G = "G"


@privacy.command("plan")
def plan_command(
    patients: Annotated[int, typer.Option(min=10, help="Public size class of the smallest site.")],
    epsilon: Annotated[float, typer.Option(help="What all rounds together may cost a patient.")] = 8.0,
    delta: Annotated[float, typer.Option(help="At most one in the number of patients.")] = 1e-6,
    rounds: Annotated[int, typer.Option(min=1, help="Of the federation.")] = 20,
    local_steps: Annotated[int, typer.Option(min=1, help="Private steps of a site in a round.")] = 10,
    batch: Annotated[
        list[int] | None, typer.Option(help="Patients in a step on average; repeat.  [default: a choice]")
    ] = None,
    mechanism: Annotated[
        MechanismChoice, typer.Option(help="R: a gradient per patient; G: per group.")
    ] = MechanismChoice.G,
    group_size: Annotated[int, typer.Option(min=2, help="Patients in a group (G), about 8.")] = 8,
    hospitals: Annotated[int, typer.Option(min=1, help="That may hold one person.")] = 2,
    sites: Annotated[int, typer.Option(min=1, help="Of like size in a round.")] = 1,
    min_sites: Annotated[
        int | None,
        typer.Option(help="Joint noise: fewer sites are never summed; needs --local-steps 1."),
    ] = None,
    colluding_sites: Annotated[
        int, typer.Option(min=0, help="Of a sum that may work with the hub (joint noise).")
    ] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """The least noise for a wanted epsilon, by patients in a step, and a `[privacy]` table to copy."""
    from simulations.planning import Joint, curve, plan

    joint = None if min_sites is None else Joint(min_sites, colluding_sites)
    sizes = batch or sorted({max(1, round(patients * share)) for share in (0.02, 0.05, 0.1, 0.25, 0.5)})
    plans = [
        plan(
            mechanism=mechanism.value,
            patients=patients,
            patients_per_step=size,
            group_size=group_size,
            rounds=rounds,
            local_steps=local_steps,
            epsilon=epsilon,
            delta=delta,
            hospitals=hospitals,
            sites=sites,
            joint=joint,
        )
        for size in sizes
    ]
    if as_json:
        print(json.dumps([each.to_json() for each in plans]))
        return
    times = f"{rounds} rounds of {local_steps} steps"
    table = Table(title=f"epsilon {epsilon:g} at delta {delta:g}: {patients} patients, {times}")
    for title in (
        "patients a step",
        "rate",
        "groups",
        "noise multiplier",
        "noise / unit",
        "reported epsilon",
    ):
        table.add_column(title, justify="right")
    table.add_column(f"at {hospitals} hospitals", justify="right")
    if joint is not None:
        table.add_column("alone", justify="right")
    for each in plans:
        table.add_row(
            str(each.patients_per_step),
            f"{each.sampling_rate:.4f}",
            str(each.groups) if each.mechanism == "G" else "-",
            f"{each.noise_multiplier:.4f}",
            f"{each.noise_per_unit:.4f}",
            f"{each.epsilon_reported:.2f}",
            f"{each.epsilon_of_hospitals:.2f}",
            *([] if each.epsilon_alone is None else [f"{each.epsilon_alone:.2f}"]),
        )
    Console().print(table)
    print("noise / unit by patients a step (logarithmic; shorter is better)")
    print("\n".join(curve(plans)))
    best = min(plans, key=lambda each: each.noise_per_unit)
    print(f"\nthe quietest of these, for a spec:\n\n{best.to_spec('SITE')}")


@privacy.command("study")
def study_command(
    plan: Annotated[Path, typer.Argument(metavar="PLAN.toml", help="The ways to train, and the epsilons.")],
    site: Annotated[
        list[str], typer.Option(metavar="NAME=STORE", help="A hospital and its store; repeat for each.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for everything that is written.")],
    bank: Annotated[Path, typer.Option(metavar="STORE", help="The public bank, which all start from.")],
) -> None:
    """What privacy costs in what is learned: zero-shot AUROC against epsilon, from a public start.

    Writes privacy.md, privacy.csv and privacy.svg to --out; goes on where it was stopped.
    """
    from simulations.ablation.plan import read_plan_of
    from simulations.privacy_study.pages import write_pages
    from simulations.privacy_study.plan import StudyPlan
    from simulations.privacy_study.running import count_patients, run_study
    from simulations.privacy_study.verdict import judge_study

    read, specs = read_plan_of(StudyPlan, plan)
    sites = parse_sites(site)
    answers = run_study(
        read,
        specs,
        sites=sites,
        bank=bank,
        out=out,
        on_done=lambda name: print(f"study: {name}", file=sys.stderr, flush=True),
    )
    write_pages(out, read, judge_study(read, answers), count_patients(sites))
    print((out / "privacy.md").read_text())
