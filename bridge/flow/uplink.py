"""The trip of a command: from a client's event through the plan to the broker, and the answer back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import structlog
from msgspec import structs
from prometheus_client import Counter

from bridge.errors import Code
from bridge.flow.moves import Moves
from bridge.flow.outcomes import FAILED, NOT_REMEMBERED, REFUSALS
from bridge.flow.ports import EagerPublisher, Requester
from bridge.flow.replays import Replays
from bridge.flow.rooms import Rooms
from bridge.flow.session import Pending, Session
from bridge.flow.uuids import Uuids
from bridge.model import PublishMessage, PublishOutcome, Refuse, Request
from bridge.rules.command_plan import (
    Answer,
    CommandPlan,
    client_scope,
    plan_command,
    render_answer,
    render_refusal,
    render_refusal_ack,
)
from bridge.rules.message_plan import read_reply
from bridge.rules.scope import MISSING
from bridge.state.answers import Answered, AnswerKey, Answers, Begun, Running
from bridge.telemetry.metrics import Metrics

log = structlog.get_logger()

Result = Answer | Refuse


class Uplink:
    """Carries out commands in the order in which each client sent them."""

    def __init__(
        self,
        rooms: Rooms,
        replays: Replays,
        publisher: EagerPublisher,
        requester: Requester,
        metrics: Metrics,
        clock: Callable[[], float],
        steady: Callable[[], float],
    ) -> None:
        """`clock` gives epoch seconds, `steady` seconds that never jump."""
        self._rooms = rooms
        self._moves = Moves(rooms, replays)
        self._publisher = publisher
        self._requester = requester
        self._metrics = metrics
        self._clock = clock
        self._steady = steady
        self._answers: Answers[Result, asyncio.Future[Result]] = Answers()
        self._workers: set[asyncio.Task[None]] = set()
        self._uuids = Uuids()
        self._posted = 0
        """Commands that wait for a confirm without a worker."""
        self._settled = asyncio.Event()
        """One of them was answered."""
        self._stopped = False
        self._counters: dict[tuple[str, str, str], Counter] = {}
        """By namespace, command and outcome, as the configuration names them."""

    def work(self, session: Session) -> None:
        """See to it that the client's inbox is worked through."""
        if session.working or session.catching_up or not session.inbox or self._stopped:
            return
        session.working = True
        if self._post_next(session):
            return
        worker = asyncio.get_running_loop().create_task(self._work_through(session))
        self._workers.add(worker)
        worker.add_done_callback(self._workers.discard)

    async def stop(self) -> None:
        """Give up the commands that are being carried out."""
        self._stopped = True
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    async def drain(self) -> None:
        """Wait until all accepted commands are answered."""
        while self._workers or self._posted:
            if self._workers:
                await asyncio.wait(self._workers)
            else:
                self._settled.clear()
                await self._settled.wait()

    def _post_next(self, session: Session) -> bool:
        """Publish the next command at once, if that is all that it asks for; a worker would cost 8 us more.

        False when a worker must carry it out.
        """
        pending = session.inbox[0]
        rule = session.namespace.commands.get(pending.command.event)
        if rule is None or not rule.only_publishes:
            return False
        try:
            plan = self._plan(session, pending, self._uuids.take())
            if isinstance(plan, Refuse) or plan.idempotency_key is not None:
                return False
            (message,) = plan.actions
            if not isinstance(message, PublishMessage):
                return False
            if not self._publisher.post(message, partial(self._take_outcome, session, pending, plan)):
                return False
        except Exception:
            return False  # the worker says what is wrong
        session.pop()
        self._posted += 1
        return True

    def _take_outcome(
        self, session: Session, pending: Pending, plan: CommandPlan, outcome: PublishOutcome
    ) -> None:
        """Answer a command that was posted, and go on with the client's next one."""
        self._posted -= 1
        self._settled.set()
        try:
            confirmed = outcome is PublishOutcome.CONFIRMED
            self._answer(session, pending, render_answer(plan) if confirmed else REFUSALS[outcome])
        except Exception:
            self._fail(session, pending)
        finally:
            session.working = False
            self.work(session)

    def refuse(self, session: Session, refuse: Refuse, *, event: str, ack_id: int | None) -> None:
        """Tell the client that its command is not carried out, and why."""
        self._count(session, event, refuse.code)
        namespace = session.namespace
        scope = client_scope(session.words, session.principal, sid=session.client.sid, now=self._clock())
        if ack_id is not None:
            session.client.ack(ack_id, render_refusal_ack(namespace, refuse, scope, event))
        if ack_id is None or namespace.errors_of(event).always:
            session.client.emit(*render_refusal(namespace, refuse, scope, event))

    async def _work_through(self, session: Session) -> None:
        try:
            while session.inbox:
                await self._carry_out_safely(session, session.pop())
        finally:
            session.working = False

    async def _carry_out_safely(self, session: Session, pending: Pending) -> None:
        try:
            self._answer(session, pending, await self._carry_out(session, pending))
        except Exception:
            self._fail(session, pending)
        finally:
            session.client.end_catch_up()  # which a join with `since` has begun

    def _fail(self, session: Session, pending: Pending) -> None:
        """The loop's top: one command's fault must not stop the client's others."""
        event = pending.command.event
        known = event if event in session.namespace.commands else "-"
        log.exception("command.failed", namespace=session.namespace.pattern, command=known)
        self.refuse(session, FAILED, event=event, ack_id=pending.ack_id)

    async def _carry_out(self, session: Session, pending: Pending) -> Result:
        message_id = self._uuids.take()
        plan = self._plan(session, pending, message_id)
        if isinstance(plan, Refuse):
            return plan
        if plan.idempotency_key is None or plan.rule.publish is None or session.principal is None:
            return await self._perform(session, plan)  # joins and leaves alone may be repeated as they are
        key = AnswerKey(
            namespace=session.client.namespace,
            user=session.principal.identity,
            command=plan.rule.name,
            key=plan.idempotency_key,
        )
        first = asyncio.get_running_loop().create_future()
        begun = self._answers.begin(key, message_id=message_id, pending=first, now=self._steady())
        match begun:
            case Answered():
                return await self._repeat(session, plan, begun.answer)
            case Running():
                return await self._repeat(session, plan, await asyncio.shield(begun.pending))
            case Begun():
                return await self._perform_first(session, pending, key, begun.message_id, first)

    def _plan(self, session: Session, pending: Pending, message_id: str) -> CommandPlan | Refuse:
        if session.principal is None:
            return Refuse(code=Code.NOT_AUTHENTICATED, message="Sign in first")
        plan = plan_command(
            session.namespace,
            session.words,
            session.principal,
            pending.command,
            sid=session.client.sid,
            now=self._clock(),
            message_id=message_id,
        )
        if isinstance(plan, CommandPlan) and not all(
            self._rooms.is_inside(session, room) for room in plan.inside
        ):
            return Refuse(code=Code.FORBIDDEN, message="You are not in this room")
        return plan

    async def _perform_first(
        self,
        session: Session,
        pending: Pending,
        key: AnswerKey,
        message_id: str,
        first: asyncio.Future[Result],
    ) -> Result:
        """Perform a command that its client may repeat, under the message id that its key has by now."""
        result: Result = FAILED
        try:
            plan = self._plan(session, pending, message_id)
            result = plan if isinstance(plan, Refuse) else await self._perform(session, plan)
            return result
        finally:
            first.set_result(result)
            if isinstance(result, Refuse) and result.code in NOT_REMEMBERED:
                self._answers.give_up(key, self._steady())
            else:
                self._answers.finish(key, result, self._steady())

    async def _perform(self, session: Session, plan: CommandPlan) -> Result:
        """Publish or request, then join and leave; the first that fails stops the rest."""
        reply: object = MISSING
        for action in plan.actions:
            if isinstance(action, PublishMessage):
                outcome = await self._publisher.publish(action)
                if outcome is not PublishOutcome.CONFIRMED:
                    return REFUSALS[outcome]
            elif isinstance(action, Request):
                reply = await self._request(session, action)
                if isinstance(reply, Refuse):
                    return reply
        moved = await self._moves.carry_out(session, plan)
        if isinstance(moved, Refuse):
            return moved
        room = None if plan.room is None else self._rooms.view(plan.room)
        answer = render_answer(plan, room, reply)
        return answer if moved is None else structs.replace(answer, recovery=moved)

    async def _request(self, session: Session, request: Request) -> object | Refuse:
        """What a service answered: any JSON value, or bytes."""
        reply = await self._requester.request(request)
        if isinstance(reply, PublishOutcome):
            return REFUSALS[reply]
        value = read_reply(reply)
        if isinstance(value, Refuse) and value.code is Code.INTERNAL:
            log.warning(
                "reply.unreadable",
                namespace=session.namespace.pattern,
                command=request.message.type,
                content_type=reply.content_type,
            )
        return value

    async def _repeat(self, session: Session, plan: CommandPlan, first: Result) -> Result:
        """The first answer again; rooms are entered anew, since the client may have come anew."""
        if isinstance(first, Refuse):
            return first
        moved = await self._moves.carry_out(session, plan)
        return moved if isinstance(moved, Refuse) else structs.replace(first, recovery=moved)

    def _answer(self, session: Session, pending: Pending, result: Result) -> None:
        event = pending.command.event
        if isinstance(result, Refuse):
            self.refuse(session, result, event=event, ack_id=pending.ack_id)
            return
        self._count(session, event, "ok")
        result = result.tell_recovery()
        if result.emit is not None:
            session.client.emit(*result.emit)
        if pending.ack_id is not None:
            session.client.ack(pending.ack_id, result.ack)

    def _count(self, session: Session, event: str, outcome: str) -> None:
        key = (session.namespace.pattern, event, outcome)
        counter = self._counters.get(key)
        if counter is None:
            known = event if event in session.namespace.commands or event == "authenticate" else "-"
            counter = self._metrics.commands.labels(f"{session.namespace.pattern} {known}", outcome)
            if known == event:  # else clients would make them up
                self._counters[key] = counter
        counter.inc()
