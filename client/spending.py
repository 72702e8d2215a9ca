"""The privacy ledger in plain words: what is spent, what is left, by whom, and what comes next."""

from pydantic import BaseModel, ConfigDict

from client.ledger import SLACK, Account
from common.privacy.accounting import Steps, epsilon_of, reported_epsilon


class ProjectSpending(BaseModel):
    """What one project spent of each patient, at its own delta."""

    model_config = ConfigDict(frozen=True)

    name: str
    project: str
    mechanism: str
    rounds_charged: int
    rounds_unfinished: int
    """Charged, and ended by a crash or an abort."""
    steps: int
    epsilon_spent: float
    epsilon_reported: float
    """The same steps, bounded more tightly; what a report may state."""
    epsilon_alone: float
    """Were the hub and all other hospitals to work together: as spent, but where the noise is joint."""
    epsilon_budget: float
    delta: float
    next_round_costs: float
    rounds_left: int


class Spending(BaseModel):
    """The account of one population."""

    model_config = ConfigDict(frozen=True)

    population: str
    epsilon_spent: float
    epsilon_reported: float
    epsilon_alone: float
    """What is left of the promise were the hub and all other hospitals to work together."""
    epsilon_budget: float
    delta: float
    unit: str = "one patient at this site, with all studies"
    relation: str = "add or remove one patient"
    accountant: str = "Renyi (spent), privacy loss distribution (reported), of dp-accounting"
    projects: tuple[ProjectSpending, ...]
    head: str


def spending_of(account: Account) -> Spending:
    """Sum the account up; some seconds where the tighter bound is new."""
    policy, all_steps = account.policy, account.spent()
    digests = list(dict.fromkeys(line.project for line in account.reserved))
    return Spending(
        population=policy.population,
        epsilon_spent=epsilon_of(all_steps, policy.delta),
        epsilon_reported=reported_epsilon(all_steps, policy.delta),
        epsilon_alone=epsilon_of(account.spent_alone(), policy.delta),
        epsilon_budget=policy.epsilon,
        delta=policy.delta,
        projects=tuple(_project(account, digest) for digest in digests),
        head=account.head,
    )


def _project(account: Account, digest: str) -> ProjectSpending:
    lines = [line for line in account.reserved if line.project == digest]
    last, spent = lines[-1], account.spent(digest)
    finished = sum(
        account.ended.get(number) == "DONE"
        for number, line in zip(account.numbers, account.reserved, strict=True)
        if line.project == digest
    )
    now = epsilon_of(spent, last.delta)
    return ProjectSpending(
        name=last.name,
        project=digest,
        mechanism=last.mechanism,
        rounds_charged=len(lines),
        rounds_unfinished=len(lines) - finished,
        steps=sum(line.steps for line in lines),
        epsilon_spent=now,
        epsilon_reported=reported_epsilon(spent, last.delta),
        epsilon_alone=epsilon_of(account.spent_alone(digest), last.delta),
        epsilon_budget=last.epsilon,
        delta=last.delta,
        next_round_costs=epsilon_of([*spent, last.charged], last.delta) - now,
        rounds_left=min(
            _rounds_left(spent, last.charged, last.epsilon, last.delta),
            _rounds_left(account.spent(), last.charged, account.policy.epsilon, account.policy.delta),
        ),
    )


def _rounds_left(spent: list[Steps], round_: Steps, budget: float, delta: float) -> int:
    """How many more such rounds fit."""

    def fits(rounds: int) -> bool:
        more = Steps(round_.rate_numerator, round_.noise_multiplier, rounds * round_.count)
        return epsilon_of([*spent, more], delta) <= budget * (1 + SLACK)

    low, high = 0, 1
    while fits(high) and high < 1 << 20:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def page_of(spending: Spending) -> str:
    """For a privacy officer to read on a terminal."""
    left = max(0.0, spending.epsilon_budget - spending.epsilon_spent)
    lines = [
        f"{spending.population}: {spending.epsilon_spent:.2f} of epsilon {spending.epsilon_budget:g} is "
        f"spent, "
        f"{left:.2f} is left (delta {spending.delta:g})",
        f"  promised to {spending.unit}; neighbours: {spending.relation}",
        f"  tighter bound of the same, for reports: epsilon {spending.epsilon_reported:.2f}",
    ]
    if spending.epsilon_alone > spending.epsilon_spent:
        lines.append(
            f"  if the hub and all other hospitals work together: epsilon {spending.epsilon_alone:.2f}"
        )
    for project in spending.projects:
        unfinished = f", {project.rounds_unfinished} of them unfinished" if project.rounds_unfinished else ""
        lines += [
            f"project {project.name} ({project.project[:12]}), mechanism {project.mechanism}",
            f"  spent   epsilon {project.epsilon_spent:.2f} of {project.epsilon_budget:g} at delta "
            f"{project.delta:g} "
            f"in {project.rounds_charged} rounds{unfinished}, {project.steps} steps "
            f"(reported {project.epsilon_reported:.2f})",
            f"  next    a round like the last adds {project.next_round_costs:.2f}; {project.rounds_left} "
            f"more fit",
        ]
        if project.epsilon_alone > project.epsilon_spent:
            lines.append(
                f"  alone   epsilon {project.epsilon_alone:.2f} if the hub and all other hospitals work "
                "together: the noise is joint"
            )
    if not spending.projects:
        lines.append("no project has read these patients under privacy yet")
    lines.append(f"head {spending.head}")
    return "\n".join(lines)
