"""The gate at work: it takes the SuperNode's tasks, and runs those of the one app that may run here."""

import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

from flwr.app import Context, Message, RecordDict
from httpx import HTTPError

from client.clock import SiteClock
from client.departure import Exit, stage_of
from client.egress import Egress
from client.gate.forkserver import Seclusion
from client.gate.reach import reach_of
from client.gate.rules import App, ApprovedRule, Rule, require
from client.gate.settings import GateSettings
from client.gate.tasks import CLIENT_APP, CRASHED, INVALID_FAB, RAISED, Task, Tasks
from client.gate.warm import AppEndedError, Limits, WarmApp
from client.gate.wire import Failure, Question
from client.memory import memory_here
from client.outward import SCRUBBED, scrubbed
from common.errors import ConfigurationError, FederationError, PolicyError
from common.messages import HELLO
from common.project import Project, open_project
from common.regular_file import read_regular

log = logging.getLogger("fedvlp")

POLL_SECONDS = 0.2
UNBOUND_SECONDS, UNBOUND_BYTES = 12 * 3600.0, 16 << 30
"""Where a pinned app has no project that says more: Flower's own lifetime of a message."""
REPLY_OVERHEAD_BYTES = 4 << 20
"""What a reply holds beside the update: keys, shares and signatures of at most 1,000 sites."""


class Gate:
    """Runs until it is interrupted."""

    def __init__(self, settings: GateSettings) -> None:
        """Read what the rule and the SuperNode's secret are; nothing runs before `run`.

        Raises:
            ConfigurationError: something that `settings` name is not there.
        """
        self._settings = settings
        self._rule: Rule = settings.parsed_rule
        try:
            self._secret = read_regular(settings.secret)
        except OSError as error:
            raise ConfigurationError(
                f"{settings.secret}: {error.strerror}; the SuperNode's secret file is needed"
            ) from None
        self._warm: WarmApp | None = None
        self._app: App | None = None
        self._egress: Egress | None = None
        """None for a pinned app without a project, whose replies nothing holds against anything."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cool()

    def run(self) -> NoReturn:
        """Answer tasks, one at a time.

        Raises:
            PeerError: the SuperNode refuses us.
            IntegrityError: what was approved here is damaged.
        """
        self._begin()
        with Tasks(self._settings.runtime, self._secret) as tasks:
            while True:
                task = tasks.acquire()
                if task is not None:
                    self._answer(task)
                    continue
                if self._warm is not None:
                    self._warm.rest_if_idle()
                with suppress(FederationError):  # said at the next message, which it refuses
                    self._now()
                time.sleep(POLL_SECONDS)

    def _now(self) -> datetime:
        """By the site's clock, which forgets no time that it showed; a pinned app's node has none."""
        rule = self._rule
        return SiteClock(rule.home.folder).noted() if isinstance(rule, ApprovedRule) else datetime.now(UTC)

    def _begin(self) -> None:
        """Say what may run, and have it ready for the first message."""
        try:
            self._warm_up(self._rule.allowed(now=self._now()))
        except FederationError as error:
            log.warning("nothing runs here until that is mended: %s", error)

    def _answer(self, task: Task) -> None:
        try:
            message, context = task.pull()
            self._respond(task, message, context)
        except Exception:  # of Flower's transport; the next task is none the worse for it
            log.exception("the SuperNode did not give a message, or take its answer; the hub hears nothing")
        finally:
            task.close()

    def _respond(self, task: Task, message: Message, context: Context) -> None:
        """Answer or refuse, whatever happens: the SuperNode waits for an answer to every message."""
        out = Exit(self._settings.node, message)
        try:
            self._judge(task, message, context, out)
        except HTTPError:
            raise
        except Exception:  # our bug, or the disc's
            log.exception("%s failed", stage_of(message))
            self._cool()
            self._refuse(task, out, CRASHED, SCRUBBED)

    def _judge(self, task: Task, message: Message, context: Context, out: Exit) -> None:
        kind = message.metadata.message_type
        try:
            if kind == HELLO and (introduction := self._rule.hello()) is not None:
                self._let_out(task, out, introduction)
                return
            app = require(
                self._rule,
                fab_sha256=task.fab_hash,
                is_client_app=task.kind == CLIENT_APP,
                now=self._now(),
            )
            warm = self._warm_up(app, still_wanted=task.wanted)
        except FederationError as error:
            log.error("refused %s: %s", stage_of(message), error)
            self._rest()
            self._refuse(task, out, INVALID_FAB, error.outward)
            return
        self._run(task, warm, message, context, out)

    def _run(self, task: Task, warm: WarmApp, message: Message, context: Context, out: Exit) -> None:
        question = Question(
            kind=message.metadata.message_type,
            group=message.metadata.group_id,
            run=context.run_id,
            node=context.node_id,
            config=self._settings.node,
            content=message.content if message.has_content() else RecordDict(),
        )
        try:
            reply = warm.ask(question, still_wanted=task.wanted)
        except AppEndedError as error:
            log.error("%s: %s", stage_of(message), error)
            self._refuse(task, out, CRASHED, error.outward)
            return
        if isinstance(reply, Failure):
            if (words := scrubbed(reply.reason)) != reply.reason:
                log.error("%s raised what must not leave: %s", stage_of(message), reply.reason)
            self._refuse(task, out, RAISED, words)
            return
        try:
            if self._egress is not None:
                self._egress.require(stage_of(message), question.content, reply)
        except FederationError as error:
            log.error("refused: %s", error)
            warm.rest()
            self._refuse(task, out, RAISED, error.outward)
            return
        self._let_out(task, out, reply)

    def _let_out(self, task: Task, out: Exit, content: RecordDict) -> None:
        """Answer with `content`, once the audit log says so; where it cannot, the hub hears that."""
        try:
            out.left(content)
        except FederationError as error:
            log.error("%s", error)
            task.refuse(RAISED, error.outward)
            return
        task.answer(content)

    def _refuse(self, task: Task, out: Exit, code: int, words: str) -> None:
        """Tell the hub `words`, and the audit log first; where that cannot be written, the hub hears that."""
        try:
            out.refused(words)
        except FederationError as error:
            log.error("%s", error)
            words = error.outward
        task.refuse(code, words)

    def _warm_up(self, app: App, *, still_wanted: Callable[[], bool] = lambda: True) -> WarmApp:
        """The warm process of `app`; another than before is started anew.

        Raises:
            FederationError: its file was changed, or it cannot be imported.
        """
        if self._warm is not None and self._app == app and self._warm.running:
            return self._warm
        self._cool()
        project = None if app.project is None else open_project(app.project)
        limits = self._limits(project, app)
        self._warm = WarmApp(app.content(), limits, environment=os.environ)
        try:
            self._egress = None if project is None else self._guard(project)  # while the other one imports
            seclusion, confined = self._warm.wait(still_wanted=still_wanted)
            if self._settings.require_landlock and not confined:
                raise PolicyError(
                    "this system cannot keep an app off files (no Landlock of Linux 6.2 or later), and this "
                    "site was started with --require-landlock",
                    outward="the app cannot be confined at this site",
                )
        except FederationError:
            self._cool()
            raise
        self._app = app
        _tell(limits, seclusion, confined=confined)
        return self._warm

    def _guard(self, project: Project) -> Egress:
        node = self._settings.node
        ledger = Path(str(node["ledger"])) if node.get("ledger") else None
        log.info("an update has %d coordinates", project.layout.num_coordinates)
        return Egress(str(node["site"]), project, ledger)

    def _limits(self, project: Project | None, app: App) -> Limits:
        gib = self._settings.memory_gib
        memory = memory_here().total if gib is None else gib << 30
        node = self._settings.node
        if project is None:
            reach = reach_of(node, None, secure=True)
            return Limits(UNBOUND_SECONDS, memory, False, UNBOUND_BYTES, reach)
        secure = project.spec.secure_aggregation.mode != "off"
        return Limits(
            seconds=project.spec.federation.reply_timeout_seconds,
            memory_bytes=memory,
            starts_programs=project.spec.train.starts_programs,
            reply_bytes=project.answer_bytes + REPLY_OVERHEAD_BYTES,
            reach=reach_of(node, app.project, secure=secure),
        )

    def _rest(self) -> None:
        if self._warm is not None:
            self._warm.rest()

    def _cool(self) -> None:
        if self._warm is not None:
            self._warm.end()
        self._warm = self._app = None


SECLUSION = {
    Seclusion.CALLS: "on: it opens no connection and starts no program",
    Seclusion.NETWORK: "on: it and the programs it starts reach each other and nothing else",
    Seclusion.NONE: "OFF: this system offers neither a filter of calls nor a network of its own; keep this "
    "machine or container off every network but the hub",
}


FILES = {
    True: "on: it reads the store and what was approved, and changes nothing but log, ledger and rounds",
    False: "OFF: this system has no Landlock (Linux 6.2); it reads and changes what this account may",
}


def _tell(limits: Limits, seclusion: Seclusion, *, confined: bool) -> None:
    """Say what holds for the app's process and what does not."""
    memory = "no limit" if limits.memory_bytes is None else f"at most {limits.memory_bytes / 2**30:.1f} GiB"
    log.info("app process: memory %s; time %g s for a message; no core dump", memory, limits.seconds)
    log.info("app process: no-network %s", SECLUSION[seclusion])
    log.info("app process: files %s", FILES[confined])
