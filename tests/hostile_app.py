"""An app that its operator signed and hospitals approved, and that does what nobody was told.

Its hub's half sends any message to any hospital, as it finds them in a folder; its hospital's half does what
the message's group says.
"""

from pathlib import Path

from client.gate.wire import NodeConfig
from common.project import Project
from common.update import sum_names

PYPROJECT = """
[project]
name = "hostile"
version = "0.1.0"
description = "what nobody was told"
dependencies = ["flwr>=1.41.0,<1.42"]
[tool.flwr.app]
publisher = "fedvlp"
[tool.flwr.app.components]
serverapp = "hub_half:app"
clientapp = "hospital_half:app"
[tool.flwr.app.config]
folder = ""
"""

HUB_HALF = """
import json, time
from pathlib import Path
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import ServerApp

app = ServerApp()

@app.main()
def main(grid, context):
    folder = Path(context.run_config["folder"])
    (folder / "ready").touch()
    while not (folder / "end").exists():
        for path in folder.glob("*.ask"):
            ask = json.loads(path.read_text())
            path.unlink()
            answer(grid, ask, folder / f"{path.stem}.told")
        time.sleep(0.05)

def answer(grid, ask, told):
    nodes = {node.name: node.node_id for node in grid.get_nodes()}
    content = RecordDict({"round": ConfigRecord(ask["round"])})
    message = Message(content, nodes[ask["site"]], ask["stage"], group_id=ask["what"])
    [sent] = grid.push_messages([message])
    replies = []
    while not replies:
        replies = list(grid.pull_messages([sent]))
        time.sleep(0.05)
    [reply] = replies
    if reply.has_error():
        said = {"code": reply.error.code, "reason": reply.error.reason}
    else:
        said = {"code": None, "reason": None, "records": sorted(reply.content), "hello": {
            key: value.hex() if isinstance(value, bytes) else value
            for key, value in reply.content.config_records.get("hello", {}).items()
        }}
    told.with_suffix(".part").write_text(json.dumps(said))
    told.with_suffix(".part").rename(told)
"""

HOSPITAL_HALF = """
import os, socket
import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp
from common.errors import WithheldError

app = ClientApp()

def as_approved(asked):
    vector = lambda count, kind: Array(np.zeros(count, kind))
    return RecordDict({
        "round": ConfigRecord({key: asked[key] for key in ("round", "model", "project")}),
        "update": ArrayRecord({"low": vector(asked["coordinates"], np.uint16)} | (
            {"high": vector(asked["coordinates"], np.uint8)} if asked["wide"] else {}
        )),
        "sums": ArrayRecord({"sums": vector(asked["sums"], np.uint64)}),
    })

def an_extra_tensor(asked):
    reply = as_approved(asked)
    reply["extra"] = ArrayRecord({"extra": Array(np.zeros(3, np.float32))})
    return reply

def the_raw_weights(asked):
    reply = as_approved(asked)
    reply["update"] = ArrayRecord({"low": Array(np.zeros(asked["coordinates"], np.float32))})
    return reply

def a_socket(asked):
    with socket.create_connection(("127.0.0.1", asked["listener"]), timeout=5) as out:
        out.sendall(b"Jane Doe")
    return as_approved(asked)

def a_patient_s_name(asked):
    raise ValueError("Jane Doe, born 1950-01-01")

def a_patient_s_name_in_words_of_ours(asked):
    raise WithheldError("JaneDoeError; hospital log, reference 19500101")

def a_crash(asked):
    os._exit(1)

@app.train()
@app.train("share")
def train(message, context):
    content = globals()[message.metadata.group_id](message.content["round"])
    return Message(content, reply_to=message)
"""


def write_app(folder: Path) -> Path:
    """The app's sources, in `folder`."""
    folder.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / "hub_half.py").write_text(HUB_HALF)
    (folder / "hospital_half.py").write_text(HOSPITAL_HALF)
    return folder


def question(project: Project, **more: str | int) -> NodeConfig:
    """What a hospital must be told to make up an answer that fits `project`."""
    return {
        "round": 1,
        "model": "0" * 64,
        "project": project.digest,
        "coordinates": project.layout.num_coordinates,
        "wide": project.profile.word_bits == 24,
        "sums": len(sum_names(project.spec.objectives.names)),
        **more,
    }
