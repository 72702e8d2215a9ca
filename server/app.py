"""The hub's side of a run, as Flower calls it: a round, from who is there to what was learned.

The hub holds the model, one accumulator of integers and one answer at a time. It sees the sites' names, their
packed updates and the sums that travel with them, never a patient's row.
"""

from datetime import UTC, datetime

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from common.terminal import progress
from server.approvals import open_approved
from server.attempts import Attempts
from server.checkpoint import save_checkpoint
from server.cohort import LATECOMER_SECONDS, Roster
from server.evaluation import Evaluator
from server.ledgers import LedgerHeads
from server.rounds import collect, instruct
from server.run import Stopwatch, conclude, record_round, start_or_resume
from server.settings import RunSettings

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Gather, instruct, collect, advance, keep, judge, write down; then conclude."""
    settings = RunSettings.from_config(context.run_config)
    project, approvers = open_approved(settings)
    evaluator = Evaluator(project, settings.evaluation_stores)
    state, history = start_or_resume(settings, project, evaluator)
    roster = Roster(grid, project, approvers)
    ledgers = LedgerHeads(settings.out)
    attempts = Attempts(settings.hub or settings.out)
    started = datetime.now(UTC)
    rounds = project.spec.federation.rounds

    with progress(f"{project.spec.name}: rounds", rounds) as advance:
        advance(state.round, "")
        while state.round < rounds:
            watch = Stopwatch()
            patience = 0.0 if history.rounds else LATECOMER_SECONDS
            cohort = roster.gather(patience_seconds=patience, doubted=history.refused_last())

            instruction = instruct(project, state, ledgers)
            collected = collect(grid, cohort, instruction, project, ledgers, attempts)
            with watch.lap("applying"):
                state.advance(collected.sum.mean, project)
            with watch.lap("checkpoint"):
                unjudged = record_round(grid, project, state, collected, watch)
                save_checkpoint(settings.checkpoints, state, project, unjudged)
            with watch.lap("evaluation"):
                scores = evaluator.glance(state)

            record = record_round(grid, project, state, collected, watch, scores.evaluation)
            history.append(record)
            advance(1, scores.words())
            del collected  # its mean is as large as the model

    conclude(settings, project, state, history, evaluator, ledgers, started)
