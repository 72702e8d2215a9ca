"""A hospital's side of a run, as Flower calls it. What leaves is exactly what `train` returns.

Flower hands over a message; the site obeys its own copy of the project, trains on its own store, and answers
with an integer update. Settings are read from the approved project, never from the message.
"""

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from client.round import (
    answer,
    charged,
    check_instruction,
    open_site,
    receive_model,
    train_locally,
    validate_model,
    weighted_delta,
)
from common.errors import withhold_details
from common.messages import Instruction

app = ClientApp()


@app.query("hello")
def hello(message: Message, context: Context) -> Message:
    """Say who this is and which project it approved."""
    with withhold_details():
        site = open_site(context.node_config)
        who = ConfigRecord({"site": site.name, "project": site.project.digest})
        return Message(RecordDict({"hello": who}), reply_to=message)


@app.train()
def train(message: Message, context: Context) -> Message:
    """Check, charge, validate, train, weigh, quantise, reply."""
    with withhold_details():
        site = open_site(context.node_config)
        instruction = Instruction.from_records(message.content)
        check_instruction(site, instruction)

        model = receive_model(site, instruction)
        with charged(site, instruction) as receipt:
            validated = validate_model(site, model)
            trained = train_locally(site, model, instruction.round)

        delta = weighted_delta(site, instruction, model)
        leaving = answer(site, instruction, delta, trained, validated, receipt)
        return Message(leaving.to_records(), reply_to=message)
