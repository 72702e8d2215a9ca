"""`fedvlp-sim bench`: measurements that anyone can repeat, both sides of a ratio in one run."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from simulations.benchmarks.telling import MEBIBYTE, AsJson, say, sign, tell
from simulations.benchmarks.training_cli import training_command
from simulations.benchmarks.warm_start_cli import warm_start_command

if TYPE_CHECKING:  # they import torch and flwr: seconds that no other command should wait
    from simulations.benchmarks.engine import EngineTimes
    from simulations.benchmarks.hub_memory import HubMemory
    from simulations.benchmarks.ingest import IngestSpeed
    from simulations.benchmarks.privacy import PrivacyCosts
    from simulations.benchmarks.secagg import SecureAggregationCost

ENGINE_GOAL = 5.0
"""Ray's seconds over ours, at least."""
GROWTH_GOAL = 1.10
"""Hub peak with the most sites over that with the fewest, at most."""
MODELS_GOAL = 2.5
"""Hub peak above base in sizes of the float32 model, at most."""
PRIVATE_SPEED_GOAL, PRIVATE_MEMORY_GOAL = 0.7, 1.5
"""Of training without privacy: pairs a second at least, peak memory at most, with groups of 8."""
READ_GOAL = 1.5
"""Images per second and core over those of the plain loop, at least."""
STORE_GOAL = 20.0
"""Times as fast from the store as decoded again, at least."""
FLAT_GOAL = 1.10
"""Peak of an ingest of many files over that of few, at most."""
CLIENT_GOAL, HUB_GOAL = 10.0, 5.0
"""Flower's CPU seconds over ours, at least, of a site and of the hub."""
MASKING_GOAL = 64 << 20
"""Bytes by which masking 50M parameters may grow the resident set."""
ERROR_GOAL = 0.003
"""Relative L2 error of the mean by 16-bit integers, at most."""

bench = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    help="Measure speed and memory on this machine.",
)

bench.command("training")(training_command)
bench.command("warm-start")(warm_start_command)


@bench.command("engine")
def engine_command(
    sites: Annotated[int, typer.Option(min=2, help="Hospitals, all in every round.")] = 10,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of the federation.")] = 10,
    local_steps: Annotated[int, typer.Option(min=1, help="Optimiser steps of a site in a round.")] = 2,
    repeats: Annotated[int, typer.Option(min=1, help="Measured runs of each engine.")] = 5,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Sites that train at once in-process.  [default: one per core]")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Time the in-process engine against Flower's Ray engine.

    The same small federation on both, in fresh processes, from start to exit. After a run of each that is not
    measured they take turns; the median ratio of neighbours counts. All must end in the same weights, bit for
    bit.
    """
    from simulations.benchmarks.engine import time_engines

    times = time_engines(
        sites=sites,
        rounds=rounds,
        local_steps=local_steps,
        repeats=repeats,
        workers=workers,
        on_stage=say,
    )
    tell(times.to_json(), engine_table(times), as_json=as_json)


@bench.command("hub-memory")
def hub_memory_command(
    parameters: Annotated[int, typer.Option(min=1000, help="Size of the model, about.")] = 50_000_000,
    sites: Annotated[
        list[int] | None, typer.Option(min=1, help="Sites of one hub; repeat.  [default: 4 and 16]")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of each run.")] = 2,
    secure: Annotated[bool, typer.Option(help="With secure aggregation.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure the hub's peak memory with few and with many sites.

    Each is a whole run of the ServerApp in a fresh process; only the sites' answers are made beforehand.
    """
    from simulations.benchmarks.hub_memory import measure_hub

    memory = measure_hub(
        parameters=parameters,
        site_counts=sites or [4, 16],
        rounds=rounds,
        secure=secure,
        on_stage=say,
    )
    tell(memory.to_json(), hub_table(memory), as_json=as_json)


@bench.command("ingest")
def ingest_command(
    images: Annotated[int, typer.Option(min=1, help="Radiographs of each transfer syntax.")] = 4,
    side: Annotated[int, typer.Option(min=16, help="Their rows and columns.")] = 2048,
    image_size: Annotated[
        int, typer.Option(min=16, max=1024, help="Side of the squares made of them.")
    ] = 224,
    few_files: Annotated[int, typer.Option(min=1, help="Small files of the smaller ingest.")] = 300,
    many_files: Annotated[int, typer.Option(min=2, help="Small files of the larger ingest.")] = 3000,
    few_rows: Annotated[int, typer.Option(min=1, help="Reports of the shorter table.")] = 10_000,
    many_rows: Annotated[int, typer.Option(min=2, help="Reports of the longer table.")] = 100_000,
    as_json: AsJson = False,
) -> None:
    """Time reading images against a plain loop of pydicom and PIL, and the store against reading again.

    Also: whether the memory of a whole ingest grows with the number of files or of reports.
    """
    from simulations.benchmarks.ingest import measure_ingest

    speed = measure_ingest(
        images=images,
        side=side,
        image_size=image_size,
        files=(few_files, many_files),
        rows=(few_rows, many_rows),
        on_stage=say,
    )
    tell(speed.to_json(), ingest_table(speed), as_json=as_json)


class ProfileChoice(StrEnum):
    """How our words are packed."""

    wide = "wide"
    thin = "thin"


@bench.command("secagg")
def secagg_command(
    parameters: Annotated[
        list[int] | None,
        typer.Option(min=1000, help="Size of the model; repeat for a table.  [default: 10000000]"),
    ] = None,
    sites: Annotated[
        list[int] | None, typer.Option(min=3, max=100, help="Sites; repeat.  [default: 5 and 10]")
    ] = None,
    profile: Annotated[ProfileChoice, typer.Option(help="3 bytes a parameter, or 2.")] = ProfileChoice.wide,
    as_json: AsJson = False,
) -> None:
    """Measure secure aggregation against Flower's own SecAgg+ functions.

    CPU seconds of one site and of the hub on the same vector in the same process, the memory that masking 50M
    parameters takes, and the error of the mean on a real update. 100M parameters need 8 GiB for Flower's.
    """
    from simulations.benchmarks.secagg import measure_secure_aggregation

    cost = measure_secure_aggregation(
        parameters=parameters or [10_000_000],
        site_counts=sites or [5, 10],
        profile=profile.value,
        on_stage=say,
    )
    tell(cost.to_json(), secagg_table(cost), as_json=as_json)


def secagg_table(cost: SecureAggregationCost) -> Table:
    """One row per case, memory and error beneath."""
    table = Table(title=f"Secure aggregation, {cost.profile} words, CPU seconds of ours / Flower's")
    for column in ("parameters", "sites", "site", "ratio", "hub", "ratio"):
        table.add_column(column, justify="right")
    for case in cost.cases:
        table.add_row(
            f"{case.parameters / 1e6:g}M",
            str(case.sites),
            f"{case.client_seconds:.2f} / {case.flower.client_seconds:.2f}",
            f"{sign(case.ratio_client >= CLIENT_GOAL)} {case.ratio_client:.1f}",
            f"{case.hub_seconds:.2f} / {case.flower.hub_seconds:.2f}",
            f"{sign(case.ratio_hub >= HUB_GOAL)} {case.ratio_hub:.1f}",
        )
    one = cost.cases[0]
    table.caption = (
        f"{one.bytes_per_parameter:.2f} bytes a parameter, Flower {one.flower.bytes_per_parameter:.2f}\n"
        f"{sign(cost.masking_growth_bytes < MASKING_GOAL)} masking {cost.masking_parameters / 1e6:g}M "
        f"parameters takes {cost.masking_growth_bytes / MEBIBYTE:.1f} MiB more\n"
        f"{sign(cost.relative_error <= ERROR_GOAL)} relative error of the mean {cost.relative_error:.2%}"
    )
    return table


@bench.command("privacy")
def privacy_command(
    steps: Annotated[int, typer.Option(min=1, help="Measured steps, after one that warms up.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Measure what privacy costs in speed and memory, and Opacus beside it.

    The shipped model without privacy, in groups and patient by patient; and a model that Opacus can handle,
    with its hooks and its ghost clipping. Every way is a fresh process.
    """
    from simulations.benchmarks.privacy import measure_privacy

    costs = measure_privacy(steps=steps, on_stage=say)
    tell(costs.to_json(), privacy_table(costs), as_json=as_json)


def privacy_table(costs: PrivacyCosts) -> Table:
    """One row per way, the goals beneath."""
    table = Table(title=f"Privacy, 64 pairs a step, {costs.steps} steps")
    for column in ("way", "pairs / CPU second", "of non-private", "step's peak MiB", "of non-private"):
        table.add_column(column, justify="left" if column == "way" else "right")
    for cost in costs.costs:
        table.add_row(
            cost.way,
            f"{cost.pairs_per_second:.1f}",
            f"{cost.speed_ratio:.2f}",
            f"{cost.bytes_above_start / MEBIBYTE:.0f}",
            f"{cost.memory_ratio:.2f}",
        )
    groups = costs.of("G, groups of 8")
    table.caption = (
        f"{sign(groups.speed_ratio >= PRIVATE_SPEED_GOAL)} speed of G = {groups.speed_ratio:.2f} "
        f"(goal {PRIVATE_SPEED_GOAL})\n"
        f"{sign(groups.memory_ratio <= PRIVATE_MEMORY_GOAL)} memory of G = {groups.memory_ratio:.2f} "
        f"(goal {PRIVATE_MEMORY_GOAL})"
    )
    return table


def engine_table(times: EngineTimes) -> Table:
    """The quickest run of both engines, the ratios beneath."""
    best = times.best
    table = Table(
        title=f"{times.sites} sites x {times.rounds} rounds, {best['ray'].parameters} parameters,\n"
        f"the quickest of {len(times.ray)} runs, in seconds"
    )
    for column in ("engine", "to the end", "start", "rounds", "the rest"):
        table.add_column(column, justify="left" if column == "engine" else "right")
    for name, run in (("in-process", best["inprocess"]), ("Ray", best["ray"])):
        phases = (run.seconds, run.start_seconds, run.round_seconds, run.end_seconds)
        table.add_row(name, *(f"{seconds:.1f}" for seconds in phases))
    table.caption = (
        f"{sign(times.ratio >= ENGINE_GOAL)} Ray / in-process = {times.ratio:.2f} (goal {ENGINE_GOAL:.0f})\n"
        f"pairs {min(times.ratios):.2f} to {max(times.ratios):.2f}, quickest {times.ratio_of_quickest:.2f}\n"
        f"{sign(times.weights_equal)} weights are "
        + ("equal, bit for bit" if times.weights_equal else "different")
    )
    return table


def hub_table(memory: HubMemory) -> Table:
    """One row per hub, growth and size beneath."""
    table = Table(title=f"Hub, {memory.parameters / 1e6:.1f}M parameters, {memory.rounds} rounds")
    for column in ("sites", "peak MiB", "before the run MiB", "models above", "seconds"):
        table.add_column(column, justify="right")
    for hub in memory.hubs:
        table.add_row(
            str(hub.sites),
            f"{hub.peak_bytes / MEBIBYTE:.0f}",
            f"{hub.base_bytes / MEBIBYTE:.0f}",
            f"{hub.models_above_base(memory.model_bytes):.2f}",
            f"{hub.seconds:.1f}",
        )
    worst = max(hub.models_above_base(memory.model_bytes) for hub in memory.hubs)
    table.caption = (
        f"{sign(memory.growth <= GROWTH_GOAL)} most / fewest sites = {memory.growth:.3f} "
        f"(goal {GROWTH_GOAL:.2f})\n"
        f"{sign(worst <= MODELS_GOAL)} peak = base + {worst:.2f} float32 models (goal {MODELS_GOAL})"
    )
    return table


def ingest_table(speed: IngestSpeed) -> Table:
    """One row per transfer syntax in milliseconds of a core, the other figures beneath."""
    table = Table(
        title=f"{speed.images} radiographs of {speed.side} x {speed.side} in each syntax, ms an image"
    )
    for column in ("syntax", "plain loop", "ours", "in full", "decode", "ratio", "in full"):
        table.add_column(column, justify="left" if column == "syntax" else "right")
    for one in speed.syntaxes:
        seconds = (one.plain, one.ours, one.in_full, one.decode)
        ratios = (one.ratio, one.ratio_in_full)
        table.add_row(
            one.syntax, *(f"{1000 * each:.1f}" for each in seconds), *(f"{each:.2f}" for each in ratios)
        )
    (few, many), (short, long) = speed.files, speed.rows
    table.caption = (
        f"{sign(speed.ratio >= READ_GOAL)} all: ours / plain loop = {speed.ratio:.2f} "
        f"(goal {READ_GOAL})\n"
        f"read in full size {speed.ratio_in_full:.2f}; pydicom's decoding alone {speed.allowed:.2f}\n"
        f"{speed.one_worker:.1f} images/s with one worker, {speed.all_cores:.1f} with {speed.cores}\n"
        f"{sign(speed.store_ratio >= STORE_GOAL)} store / decoding again = {speed.store_ratio:.0f} "
        f"(goal {STORE_GOAL:.0f})\n"
        f"{sign(speed.growth <= FLAT_GOAL)} peak of {many} / of {few} files = {speed.growth:.3f} "
        f"(goal {FLAT_GOAL:.2f}), {speed.peak_bytes[1] / MEBIBYTE:.0f} MiB\n"
        f"{sign(speed.rows_growth <= FLAT_GOAL)} peak of {long} / of {short} reports = "
        f"{speed.rows_growth:.3f} (goal {FLAT_GOAL:.2f}), {speed.rows_peak_bytes[1] / MEBIBYTE:.0f} MiB"
        + (f"\nno encoder here for {', '.join(speed.left_out)}" if speed.left_out else "")
    )
    return table
