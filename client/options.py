"""Options that several commands of `fedvlp-site` have."""

from pathlib import Path
from typing import Annotated

import typer

Home = Annotated[
    Path,
    typer.Option(
        envvar="FEDVLP_HOME",
        help="Folder of this site's secrets and state; ~/.fedvlp unless given.",
        show_default=False,
    ),
]
HOME = Path("~/.fedvlp")
StoreFolder = Annotated[Path, typer.Option("--store", help="Folder of the store.")]
JsonOutput = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
