import time
from collections.abc import Callable, Iterable

import pytest
from flwr.app import ConfigRecord, Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode
from flwr.proto.node_pb2 import NodeInfo
from tiny import SITES, tiny_spec

from common.errors import ConfigurationError, PeerError, WithheldError
from common.messages import TRAIN
from common.project import Project, create_project
from common.store import Store
from server import cohort
from server.cohort import LONGEST_REASON, Reply, Roster, exchange
from simulations.grid import Faults, InProcessGrid
from simulations.local_grid import FIRST_NODE

Act = Callable[[str], None]
SECONDS = 0.2
"""Long enough for a site that answers, short enough to wait for one that does not."""


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory, bank: Store) -> Project:
    """The tiny project with a deadline of `SECONDS`."""
    spec = tiny_spec(federation__reply_timeout_seconds=SECONDS)
    return create_project(tmp_path_factory.mktemp("impatient"), spec, sites=[*SITES], bank=bank)


class Grid(InProcessGrid):
    """The in-process grid with nodes that may be nameless or away, and a record of what was asked."""

    nameless = False
    away: tuple[str, ...] = ()
    hellos = 0

    def get_nodes(self) -> Iterable[NodeInfo]:
        nodes = [node for node in super().get_nodes() if node.name not in self.away]
        return [NodeInfo(node_id=node.node_id) for node in nodes] if self.nameless else nodes

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        listed = list(messages)
        self.hellos += sum(message.metadata.message_type == cohort.HELLO for message in listed)
        return super().push_messages(listed)


def grid_of(sites: Iterable[str] = SITES, *, act: Act = lambda _: None, faults: Faults | None = None) -> Grid:
    """Sites that answer with their own name after `act`."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        act(str(context.node_config["site"]))
        return reply(message, context)

    @app.query("hello")
    def hello(message: Message, context: Context) -> Message:
        return reply(message, context)

    def reply(message: Message, context: Context) -> Message:
        said = ConfigRecord({"site": str(context.node_config["site"])})
        return Message(RecordDict({"hello": said}), reply_to=message)

    return Grid({site: {"site": site} for site in sites}, client_app=app, faults=faults)


def messages(sites: Iterable[str] = SITES) -> dict[str, Message]:
    said = RecordDict({"round": ConfigRecord({"round": 1})})
    return {site: Message(said, FIRST_NODE + place, TRAIN) for place, site in enumerate(sorted(sites))}


def heard(reply: Reply) -> str | None:
    return None if reply.message is None else str(reply.message.content.config_records["hello"]["site"])


def test_every_site_gets_its_message_and_replies_come_in_the_order_of_names() -> None:
    grid = grid_of(["b", "c", "a"])
    backwards = dict(reversed(messages(["a", "b", "c"]).items()))
    replies = exchange(grid, backwards, timeout_seconds=5)
    assert [(reply.site, heard(reply), reply.error) for reply in replies] == [
        ("a", "a", None),
        ("b", "b", None),
        ("c", "c", None),
    ]


def test_replies_are_taken_one_at_a_time_and_not_kept() -> None:
    taken: list[str | None] = []
    replies = exchange(
        grid_of(), messages(), timeout_seconds=5, on_reply=lambda reply: taken.append(heard(reply))
    )
    assert sorted(map(str, taken)) == sorted(SITES)
    assert all(reply.message is None for reply in replies)


def raising(error: Exception, *, at: str = "north") -> Act:
    def act(site: str) -> None:
        if site == at:
            raise error

    return act


def test_an_error_is_told_in_its_kind_and_words_and_the_others_go_on() -> None:
    act = raising(ConfigurationError("site not in the project"))
    east, north, west = exchange(grid_of(act=act), messages(), timeout_seconds=5)
    assert (heard(east), heard(west)) == ("east", "west")
    assert (north.message, north.error) == (None, "ConfigurationError: site not in the project")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("two\n  lines", "WithheldError: two lines"),
        ("it's <'quoted'>", "WithheldError: it's <'quoted'>"),
        ("", "WithheldError:"),
        ("x" * 999, ("WithheldError: " + "x" * 999)[:LONGEST_REASON]),
    ],
)
def test_whatever_a_site_says_becomes_one_short_line(words: str, told: str) -> None:
    replies = exchange(grid_of(act=raising(WithheldError(words))), messages(), timeout_seconds=5)
    assert replies[1].error == told


def test_a_dead_site_is_an_error_and_a_silent_one_is_late() -> None:
    faults = Faults({("east", 1): "dies", ("west", 1): "silent"})
    started = time.monotonic()
    east, north, west = exchange(grid_of(faults=faults), messages(), timeout_seconds=SECONDS)
    assert SECONDS <= time.monotonic() - started < SECONDS + 3
    assert east.error == "ClientApp stopped responding."
    assert heard(north) == "north"
    assert (west.message, west.error) == (None, None)


def test_one_that_is_late_is_told_as_such_after_the_others() -> None:
    taken: list[str] = []
    faults = Faults({("east", 1): "silent"})
    exchange(
        grid_of(faults=faults),
        messages(),
        timeout_seconds=SECONDS,
        on_reply=lambda reply: taken.append(reply.site),
    )
    assert taken[-1] == "east"
    assert sorted(taken) == sorted(SITES)


def test_nobody_is_waited_for_when_all_have_answered() -> None:
    started = time.monotonic()
    exchange(grid_of(), messages(), timeout_seconds=600)
    assert time.monotonic() - started < 10
    assert exchange(grid_of(), {}, timeout_seconds=600) == []


def test_a_message_that_flower_did_not_take_is_late_at_once() -> None:
    class Refusing(Grid):
        def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
            return ["" for _ in messages]

    grid = Refusing({"east": {"site": "east"}}, client_app=ClientApp())
    assert exchange(grid, messages(["east"]), timeout_seconds=600) == [Reply("east", None, None)]


@pytest.mark.parametrize(
    "code", [ErrorCode.NODE_UNAVAILABLE, ErrorCode.REPLY_MESSAGE_UNAVAILABLE, ErrorCode.MESSAGE_UNAVAILABLE]
)
def test_a_site_that_went_away_is_late_and_refused_nothing(
    monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    asked = messages(["east"])
    gone = Message(Error(code, "Error: Node Unavailable"), reply_to=asked["east"])
    grid = grid_of(["east"])
    monkeypatch.setattr(grid, "pull_messages", lambda _: [gone])
    (reply,) = exchange(grid, asked, timeout_seconds=600)
    assert (reply.message, reply.error) == (None, None)
    absent = reply.absence()
    assert (absent.status, absent.reason) == ("late", "no answer: the connection was lost")


def test_the_cohort_is_the_projects_sites_by_name_in_order(impatient: Project) -> None:
    grid = grid_of([*SITES, "stranger", "a-first"])
    found = Roster(grid, impatient).gather(patience_seconds=0)
    assert list(found) == sorted(SITES)
    names = {node.node_id: node.name for node in grid.get_nodes()}
    assert [names[node] for node in found.values()] == sorted(SITES)
    assert grid.hellos == 0


def test_nameless_nodes_are_asked_once_and_remembered(impatient: Project) -> None:
    grid = grid_of([*SITES, "stranger"])
    grid.nameless = True
    roster = Roster(grid, impatient)
    first = roster.gather(patience_seconds=0)
    assert list(first) == sorted(SITES)
    assert grid.hellos == 4
    assert roster.gather(patience_seconds=0) == first
    assert grid.hellos == 4


def test_a_nameless_node_that_answers_nonsense_stays_unknown(impatient: Project) -> None:
    app = ClientApp()

    @app.query("hello")
    def hello(message: Message, context: Context) -> Message:
        site = str(context.node_config["site"])
        if site == "west":
            raise ValueError(site)
        said = ConfigRecord({"site": 1.5 if site == "odd" else site})
        return Message(RecordDict({"hello": said}), reply_to=message)

    grid = Grid({site: {"site": site} for site in (*SITES, "odd")}, client_app=app)
    grid.nameless = True
    assert list(Roster(grid, impatient).gather(patience_seconds=0)) == ["east", "north"]


def test_without_a_quorum_the_sites_that_are_missing_are_named(impatient: Project) -> None:
    grid = grid_of()
    grid.away = ("north", "west")
    started = time.monotonic()
    with pytest.raises(PeerError, match=r"1 of 3 sites.*min_sites = 2; bring up north, west") as caught:
        Roster(grid, impatient).gather(patience_seconds=0)
    assert time.monotonic() - started >= SECONDS
    assert caught.value.exit_code == 5


def test_a_quorum_is_enough_once_patience_is_over(impatient: Project) -> None:
    grid = grid_of()
    grid.away = ("west",)
    started = time.monotonic()
    found = Roster(grid, impatient).gather(patience_seconds=2 * SECONDS)
    assert list(found) == ["east", "north"]
    assert time.monotonic() - started >= 2 * SECONDS


def test_a_site_that_comes_while_we_wait_takes_part_and_one_that_leaves_does_not(impatient: Project) -> None:
    class Coming(Grid):
        looks = 0

        def get_nodes(self) -> Iterable[NodeInfo]:
            self.looks += 1
            self.away = ("west",) if self.looks < 3 else ()
            return super().get_nodes()

    grid = Coming({site: {"site": site} for site in SITES}, client_app=ClientApp())
    roster = Roster(grid, impatient)
    assert list(roster.gather(patience_seconds=60)) == sorted(SITES)
    grid.looks = 0
    assert list(roster.gather(patience_seconds=0)) == ["east", "north"]
