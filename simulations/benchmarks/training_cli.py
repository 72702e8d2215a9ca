"""`fedvlp-sim bench training`: local training against open_clip and plain transformers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from common.errors import ConfigurationError
from simulations.benchmarks.telling import MEBIBYTE, AsJson, say, sign, tell
from simulations.sites import parse_sites

if TYPE_CHECKING:  # it imports torch: seconds that no other command should wait
    from simulations.benchmarks.training import TrainingSpeeds

SAME_SETTINGS_GOAL, EACH_BEST_GOAL = 1.0, 1.5
"""Our pairs per processor second over open_clip's, at least."""
MFU_GOAL = 0.45
"""Share of a GPU's peak, at least (an H200)."""


def training_command(
    image_size: Annotated[int, typer.Option(min=16, help="Pixels a side.")] = 96,
    batch_size: Annotated[
        int | None, typer.Option(min=2, help="Pairs in a step.  [default: 32; with --mfu 256]")
    ] = None,
    effective_batch: Annotated[int, typer.Option(min=4, help="Pairs of the step in chunks.")] = 512,
    turns: Annotated[int, typer.Option(min=1, help="Turns of each party.")] = 4,
    steps: Annotated[int, typer.Option(min=1, help="Steps in a turn.")] = 1,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of each party.")] = 1,
    compiled: Annotated[
        bool, typer.Option("--compile", help="torch.compile for all, at their best.")
    ] = False,
    float32: Annotated[
        bool, typer.Option("--float32", help="At their best, none computes in bfloat16.")
    ] = False,
    mfu: Annotated[
        bool, typer.Option("--mfu", help="Only the share of a CUDA GPU that our ViT-B/16 step uses.")
    ] = False,
    peak_tflops: Annotated[
        float | None, typer.Option(min=1, help="The GPU's peak in bfloat16, where it is not known.")
    ] = None,
    packages: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Folder with open_clip.  [default: pip installs it]"),
    ] = None,
    site: Annotated[
        list[str] | None,
        typer.Option(
            "--site", metavar="NAME=STORE", help="Learn from these labelled stores as well; repeat."
        ),
    ] = None,
    bank: Annotated[Path | None, typer.Option(help="Store of public reports, for the vocabulary.")] = None,
    questions: Annotated[
        Path | None, typer.Option(metavar="SPEC.toml", help="Whose [evaluation] asks about their images.")
    ] = None,
    auroc: Annotated[float, typer.Option(min=0.5, max=1, help="Mean zero-shot AUROC to reach.")] = 0.65,
    learning_steps: Annotated[int, typer.Option(min=1, help="Steps to reach it in, of 64 pairs.")] = 300,
    as_json: AsJson = False,
) -> None:
    """Time local training against open_clip and plain transformers.

    The same two-tower model and made-up pairs for all, each in a fresh process, turn by turn: first in the
    same settings, then each at its best, then one large batch in chunks. With --site and --questions, also
    how long each trains on real images until it answers.
    """
    from simulations.benchmarks.training import time_training
    from simulations.benchmarks.training_learning import RealQuestions
    from simulations.benchmarks.training_party import Shape

    if mfu:
        _utilise(batch_size=batch_size, compiled=compiled, peak_tflops=peak_tflops, as_json=as_json)
        return
    if (site is None) != (questions is None):
        raise ConfigurationError("--site and --questions need each other: give both or neither")
    real = (
        None
        if site is None or questions is None
        else RealQuestions(
            parse_sites(site),
            bank=bank,
            questions=questions,
            auroc=auroc,
            steps=learning_steps,
        )
    )
    speeds = time_training(
        shape=Shape(image_size=image_size, batch_size=batch_size or Shape.batch_size),
        turns=turns,
        steps=steps,
        threads=threads,
        compiled=compiled,
        precision="fp32" if float32 else "auto",
        effective_batch=effective_batch,
        packages=packages,
        real=real,
        on_stage=say,
    )
    tell(speeds.to_json(), training_table(speeds), as_json=as_json)


def _utilise(*, batch_size: int | None, compiled: bool, peak_tflops: float | None, as_json: bool) -> None:
    import torch

    from simulations.benchmarks.training_flops import VIT_B_BERT_BASE, measure_utilisation, peak_of

    if not torch.cuda.is_available():
        raise ConfigurationError("--mfu needs a CUDA GPU, and this machine offers none")
    device = torch.device("cuda")
    peak = peak_of(torch.cuda.get_device_name(device)) if peak_tflops is None else peak_tflops * 1e12
    shape = VIT_B_BERT_BASE if batch_size is None else replace(VIT_B_BERT_BASE, batch_size=batch_size)
    used = measure_utilisation(shape, device=device, peak_flops=peak, compiled=compiled)
    table = Table(title=f"{used.device}, ViT-B/16 and BERT-base, batch {shape.batch_size}")
    for column in ("pairs/s", "GFLOP a pair", "peak TFLOP/s", f"used (goal {MFU_GOAL:.0%})"):
        table.add_column(column, justify="right")
    table.add_row(
        f"{used.pairs_per_second:.0f}",
        f"{used.flops_per_pair / 1e9:.1f}",
        f"{used.peak_flops / 1e12:.0f}",
        f"{sign(used.share >= MFU_GOAL)} {used.share:.1%}",
    )
    tell(used.to_json(), table, as_json=as_json)


def training_table(speeds: TrainingSpeeds) -> Table:
    """One row per party, the goals and what chunks do to a gradient beneath."""
    table = Table(
        title=f"Training, batch {speeds.batch_size}, {speeds.threads} threads, load {speeds.load:.1f}"
    )
    columns = ("party", "parameters", "pairs/CPU s, same", "best", "peak MiB, same", "best")
    for column in columns:
        table.add_column(column, justify="left" if column == "party" else "right")
    for name, same in speeds.same_settings.items():
        best = speeds.each_best[name]
        table.add_row(
            name,
            f"{same.parameters / 1e6:.2f}M",
            f"{same.pairs_per_cpu_second:.1f}",
            f"{best.pairs_per_cpu_second:.1f}",
            f"{same.peak_bytes / MEBIBYTE:.0f}",
            f"{best.peak_bytes / MEBIBYTE:.0f}",
        )
    lines = [
        f"{sign(ratio >= goal)} ours / open_clip, {words} = {ratio:.2f} (goal {goal:.1f})"
        for words, ratio, goal in (
            ("same settings", speeds.ratio_same_settings, SAME_SETTINGS_GOAL),
            (
                f"each at its best in {'bfloat16' if speeds.bfloat16 else 'float32'}",
                speeds.ratio_each_best,
                EACH_BEST_GOAL,
            ),
        )
    ]
    lines += [
        f"batch {speeds.effective_batch} in chunks, {name}: gradient off by {found['encoder_error']:.0e}, "
        f"temperature's x {found['temperature_factor']:.2f}, {found['cpu_seconds']:.1f} CPU s"
        for name, found in speeds.chunk.items()
    ]
    for name, lessons in (speeds.learning or {}).items():
        until = (speeds.seconds_to_auroc or {})[name]
        reached = "never" if until is None else f"{until:.0f} CPU s"
        highest = max(lesson.mean_auroc for lesson in lessons)
        lines.append(f"zero-shot AUROC {speeds.auroc}, {name}: {reached}; {highest:.3f} at its best")
    table.caption = "\n".join(lines)
    return table
