"""`fedvlp-site quality`: a store measured, shown to a person, and judged as training would judge it."""

from pathlib import Path
from typing import Annotated

import typer

from client.ingest.quality.figures import PAGE
from client.ingest.quality.gate import Judgement, judge, refuse_failed
from client.ingest.quality.page import summary, write_page
from common.errors import ConfigurationError
from common.spec.quality import QualitySpec
from common.store import Store


def quality_command(
    store: Annotated[Path, typer.Argument(help="Folder of the store.")],
    spec: Annotated[
        Path | None, typer.Option(metavar="SPEC.toml", help="Take the thresholds of this run spec.")
    ] = None,
    project: Annotated[
        Path | None, typer.Option(help="Take the thresholds of this project's spec, as training does.")
    ] = None,
    page: Annotated[
        Path | None, typer.Option(help=f"Where the page goes.  [default: {PAGE} in the store]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Tell what a store is worth before anything trains on it; exit code 3 if the site would refuse to.

    Counts by stage, duplicates, radiographs that seem inverted or turned, empty images, languages and lengths
    of reports, what may still name somebody, and some rows to look at. The page and quality.json stay in the
    hospital and are readable by you only. Thresholds are the defaults unless a spec or a project is given.
    """
    thresholds = _thresholds(spec, project)
    opened = Store(store)
    opened.verify()
    judgement = judge(opened, thresholds)
    place = page or store / PAGE
    write_page(place, opened, judgement)
    typer.echo(judgement.model_dump_json(indent=2) if as_json else _told(judgement, place))
    refuse_failed(judgement)


def _thresholds(spec: Path | None, project: Path | None) -> QualitySpec:
    if spec and project:
        raise ConfigurationError("--spec and --project both name thresholds; give one of them")
    if spec:
        from common.spec.run import read_spec

        return read_spec(spec).data.quality
    if project:
        from common.project import open_project  # it imports torch, which takes seconds

        return open_project(project).spec.data.quality
    return QualitySpec()


def _told(judgement: Judgement, page: Path) -> str:
    width = max(len(check.figure) for check in judgement.checks)
    lines = [
        f"{'ok' if check.passed else 'FAILED':<8}{check.figure:<{width}}  {check.told[0]:>8}  {check.bound}"
        for check in judgement.checks
    ]
    return "\n".join([f"{judgement.quality.name}: {summary(judgement.quality)}", *lines, f"page: {page}"])
