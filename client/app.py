"""A hospital's side of a run, as Flower calls it. What leaves is exactly what `train` returns.

Flower hands over a message; the site obeys its own copy of the project, trains on its own store, and answers
with an integer update. Settings are read from the approved project, never from the message.
"""

from collections.abc import Callable

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from client.round import (
    answer,
    charged,
    check_instruction,
    introduce,
    open_site,
    receive_model,
    train_locally,
    validate_model,
    weighted_delta,
)
from client.secagg import SecureRounds
from common.errors import PolicyError, withhold_details
from common.messages import Instruction, Step
from common.secagg.round_terms import terms_of

app = ClientApp()


@app.query("hello")
def hello(message: Message, context: Context) -> Message:
    """Say who this is and which project it approved."""
    with withhold_details():
        who = ConfigRecord({**introduce(context.node_config)})
        return Message(RecordDict({"hello": who}), reply_to=message)


@app.train()
def train(message: Message, context: Context) -> Message:
    """Check, charge, validate, train, weigh, quantise, reply; under secure aggregation with keys alone."""
    with withhold_details():
        site = open_site(context.node_config)
        instruction = Instruction.from_records(message.content)
        check_instruction(site, instruction)

        model = receive_model(site, instruction)
        with charged(site, instruction) as receipt:
            validated = validate_model(site, model)
            trained = train_locally(site, model, instruction.round)

        delta = weighted_delta(site, instruction, model)
        update = answer(site, instruction, delta, trained, validated, receipt)
        if site.secure_rounds is None:
            return Message(update.to_records(), reply_to=message)
        keys = site.secure_rounds.open(terms_of(instruction, site.project), update)
        return Message(keys.to_records(), reply_to=message)


@app.train("share")
def share(message: Message, context: Context) -> Message:
    """Send every other hospital a sealed share of this round's secrets."""
    return _step(message, context, SecureRounds.share)


@app.train("input")
def input_masked(message: Message, context: Context) -> Message:
    """Mask the update and let it go."""
    return _step(message, context, SecureRounds.input)


@app.train("consent")
def consent(message: Message, context: Context) -> Message:
    """Sign whose updates are in the sum."""
    return _step(message, context, SecureRounds.consent)


@app.train("reveal")
def reveal(message: Message, context: Context) -> Message:
    """Give the shares that unmask the sum, and nothing but the sum."""
    return _step(message, context, SecureRounds.reveal)


def _step(message: Message, context: Context, take: Callable[[SecureRounds, Step], Step]) -> Message:
    """Take a step of a secure round, if this hospital's project has such rounds."""
    with withhold_details():
        rounds = open_site(context.node_config).secure_rounds
        if rounds is None:
            raise PolicyError(
                "the approved project has no secure aggregation; the hub runs another one",
                outward="no secure aggregation in the approved project",
            )
        return Message(take(rounds, Step.from_records(message.content)).to_records(), reply_to=message)
