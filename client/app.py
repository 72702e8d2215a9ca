"""A hospital's side of a run, as Flower calls it. Whatever leaves, leaves through `answered`.

Flower hands over a message; the site obeys its own copy of the project, trains on its own store, and answers
with an integer update. Settings are read from the approved project, never from the message.
"""

from collections.abc import Callable

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from client.departure import answered
from client.round import (
    answer,
    charged,
    check_instruction,
    introduce,
    open_site,
    receive_model,
    train_locally,
    validate_model,
    whole_numbers,
)
from client.secagg import SecureRounds
from common.errors import PolicyError
from common.messages import Instruction, Step
from common.secagg.round_terms import terms_of

app = ClientApp()


@app.query("hello")
def hello(message: Message, context: Context) -> Message:
    """Say who this is and which project it approved."""
    return answered(
        message,
        context,
        lambda: RecordDict({"hello": ConfigRecord({**introduce(context.node_config)})}),
    )


@app.train()
def train(message: Message, context: Context) -> Message:
    """Train on this hospital's patients; what leaves is the update, with secure aggregation keys alone."""
    return answered(message, context, lambda: _train(message, context))


def _train(message: Message, context: Context) -> RecordDict:
    """Check, charge, validate, train, weigh, quantise, reply."""
    site = open_site(context.node_config)
    instruction = Instruction.from_records(message.content)
    check_instruction(site, instruction)

    model = receive_model(site, instruction)
    with charged(site, instruction) as receipt:
        validated = validate_model(site, model)
        trained = train_locally(site, model, instruction.round)

    numbers = whole_numbers(site, instruction, model, trained)
    update = answer(site, instruction, numbers, trained, validated, receipt)
    if site.secure_rounds is None:
        return update.to_records()
    return site.secure_rounds.open(terms_of(instruction, site.project), update).to_records()


@app.train("share")
def share(message: Message, context: Context) -> Message:
    """Send every other hospital a sealed share of this round's secrets."""
    return answered(message, context, lambda: _step(message, context, SecureRounds.share))


@app.train("input")
def input_masked(message: Message, context: Context) -> Message:
    """Mask the update and let it go."""
    return answered(message, context, lambda: _step(message, context, SecureRounds.input))


@app.train("consent")
def consent(message: Message, context: Context) -> Message:
    """Sign whose updates are in the sum."""
    return answered(message, context, lambda: _step(message, context, SecureRounds.consent))


@app.train("reveal")
def reveal(message: Message, context: Context) -> Message:
    """Give the shares that unmask the sum, and nothing but the sum."""
    return answered(message, context, lambda: _step(message, context, SecureRounds.reveal))


def _step(message: Message, context: Context, take: Callable[[SecureRounds, Step], Step]) -> RecordDict:
    """Take a step of a secure round, if this hospital's project has such rounds."""
    rounds = open_site(context.node_config).secure_rounds
    if rounds is None:
        raise PolicyError(
            "the approved project has no secure aggregation; the hub runs another one",
            outward="no secure aggregation in the approved project",
        )
    return take(rounds, Step.from_records(message.content)).to_records()
