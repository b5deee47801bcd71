"""A run with a remote: what the store lacks is looked for there first, what is finished is sent.

A remote that fails costs a line, and no run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, cast

from attrs import evolve

from prologue_bench.errors import Interrupted, PrologueBenchError
from prologue_bench.pipeline.executors.watcher import Watcher
from prologue_bench.pipeline.flops import recorded_flops
from prologue_bench.pipeline.planner import Plan, PlannedStage
from prologue_bench.storage.remotes.remote import Remote
from prologue_bench.storage.remotes.transfer import (
    Exchange,
    Progress,
    Quiet,
    plan_pull,
    plan_push,
    pull,
    push,
)
from prologue_bench.storage.store import Store

Showing = Callable[[Exchange], AbstractContextManager[Progress]]


class Sharing:
    """The remote of a run. `say` is given a line where something does not go as asked."""

    def __init__(self, remote: Remote, store: Store, say: Callable[[str], None]) -> None:
        self.remote, self.store, self.say = remote, store, say
        self._failed = False

    def there(self, plan: Plan) -> Exchange:
        """What can be fetched of the stages that a plan lacks.

        A stage is taken only with all that it is made from.
        """
        missing = [planned.stage.key for planned in plan.missing]
        exchange = plan_pull(self.store, self.remote, missing)
        coming = {item.key: item for item in exchange.going}
        for planned in plan.stages:
            if any(
                each.key not in coming and self.store.find(each.key) is None
                for each in planned.stage.inputs
            ):
                coming.pop(planned.stage.key, None)
        exchange.going = list(coming.values())
        return exchange

    def fetch(self, plan: Plan, showing: Showing) -> Plan:
        """The plan with those of its missing stages finished that the remote has."""
        try:
            if not plan.missing or not self.remote.is_made():
                return plan
            exchange = self.there(plan)
            self._say_all(exchange, "taken")
            if exchange.going:
                with showing(exchange) as progress:
                    moved = pull(self.store, self.remote, exchange.going, progress)
                for line in moved.problems:
                    self.say(line)
        except Interrupted:
            raise
        except PrologueBenchError as error:
            self.say(f"{error}; the run goes on without what is there")
        return evolve(plan, stages=tuple(map(self._looked_up, plan.stages)))

    def watching(self, watcher: Watcher, stop_requested: Callable[[], bool]) -> Watcher:
        """A watcher that also sends each stage when it is finished."""
        return cast("Watcher", _Sender(self, watcher, stop_requested))

    def send(self, keys: Iterable[str], stop_requested: Callable[[], bool]) -> None:
        """Send finished stages; after a failure nothing more is tried before `finish`."""
        if self._failed or not self.remote.kind.writable:
            return
        try:
            self.remote.prepare()
            exchange = plan_push(self.store, self.remote, keys)
            until = _Until(stop_requested)
            for line in push(self.store, self.remote, exchange.going, until).problems:
                self.say(line)
        except Interrupted:
            pass  # what is asked to stop says so itself
        except PrologueBenchError as error:
            self._failed = True
            self.say(f"{error}; the run goes on, and what is finished is sent at its end")

    def finish(self, plan: Plan, showing: Showing) -> str:
        """Send all finished stages of a plan that the remote lacks; returns what is wrong."""
        if not self.remote.kind.writable:
            self.say(f"{self.remote.url}: can be read only; nothing is sent there")
            return ""
        keys = [each.stage.key for each in plan.stages if self.store.find(each.stage.key)]
        try:
            self.remote.prepare()
            exchange = plan_push(self.store, self.remote, keys)
            self._say_all(exchange, "sent")
            left = len(exchange.problems) + len(exchange.behind)
            if exchange.going:
                with showing(exchange) as progress:
                    moved = push(self.store, self.remote, exchange.going, progress)
                for line in moved.problems:
                    self.say(line)
                left += len(exchange.going) - len(moved.items)
        except Interrupted:
            raise
        except PrologueBenchError as error:
            return str(error)
        return f"{left} artifact{'s' * (left > 1)} not sent to {self.remote.url}" if left else ""

    def _looked_up(self, planned: PlannedStage) -> PlannedStage:
        if planned.cached or (found := self.store.find(planned.stage.key)) is None:
            return planned
        flops = recorded_flops(found.manifest)
        return evolve(planned, cached=True, seconds=0.0, flops=flops)

    def _say_all(self, exchange: Exchange, done: str) -> None:
        for line in exchange.problems:
            self.say(line)
        if exchange.behind:
            count = len(exchange.behind)
            self.say(
                f"{self.remote.url}: {count} artifact{'s' * (count > 1)} made from other contents "
                f"{'are' if count > 1 else 'is'} not {done}"
            )


class _Until(Quiet):
    """Ends a transfer when the user asks to stop."""

    def __init__(self, stop_requested: Callable[[], bool]) -> None:
        self.stop_requested = stop_requested

    def moved(self, count: int) -> None:
        if self.stop_requested():
            raise Interrupted("stopped while an artifact was sent")


class _Sender:
    """Hands everything on to a watcher, and sends what is finished."""

    def __init__(
        self, sharing: Sharing, watcher: Watcher, stop_requested: Callable[[], bool]
    ) -> None:
        self._sharing, self._watcher, self._stop_requested = sharing, watcher, stop_requested

    def __getattr__(self, name: str) -> Any:
        return getattr(self._watcher, name)

    def finished(self, planned: PlannedStage, seconds: float) -> None:
        self._watcher.finished(planned, seconds)
        self._sharing.send([planned.stage.key], self._stop_requested)
