"""Orchestrations on durabletask's own worker and backend, with the real activities on an in-memory world.

Durable timers run in virtual time: when nothing is left to do but wait, the clock moves on.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import wraps
from typing import Any

import durabletask.internal.orchestrator_service_pb2 as pb
from durabletask.client import OrchestrationStatus, TaskHubGrpcClient
from durabletask.worker import TaskHubGrpcWorker

from activities.registry import ACTIVITIES
from emulator.durable import SqliteBackend
from emulator.durable.virtual_time import OffsetClock
from orchestrations import ORCHESTRATORS
from pilotage import bootstrap
from pilotage.bootstrap import App
from pilotage.domain.approval import Decision, Vote
from pilotage.domain.assets import AssetRef
from pilotage.domain.canonical import digest
from pilotage.domain.names import child_id, promotion_id
from pilotage.domain.policy import PromotionPolicy
from pilotage.ledger import Ledger
from pilotage.messages import VOTE_EVENT, PromotionRequest, Trigger
from tests.support.desk import SETTINGS
from tests.support.memory import SIGNER, MemoryPolicies, MemoryRecords, MemoryRows, MemoryTickets, RecordingNotifier, StaticIdentity
from tests.support.world import World

DEADLINE = 30.0
_ENDED = (OrchestrationStatus.COMPLETED, OrchestrationStatus.FAILED, OrchestrationStatus.TERMINATED)


def policy(**changes: Any) -> PromotionPolicy:
    text: dict[str, Any] = {
        "apiVersion": "pilotage/v1", "name": "line", "match": {"workspace": "dev", "model": "line", "tags": {"candidate": "true"}},
        "scenario": "tabular", "registry": "reg", "environment": "azureml:env@latest",
        "stages": [
            {"name": "staging", "workspace": "stg", "target": {"endpoint": "line-stg"},
             "gates": [{"smoke": {"samples": "azureml:requests@latest"}},
                       {"metric": {"metric": "mae", "holdout": "azureml:holdout@latest", "target": "y", "max": 1}}]},
            {"name": "production", "workspace": "prod", "target": {"endpoint": "line"},
             "approval": {"quorum": 1, "approvers": ["group:leads"], "expires": "P3D"},
             "rollout": {"steps": [{"traffic": 10, "for": "PT10M"}, {"traffic": 100}],
                         "check": {"samples": "azureml:requests@latest"}}},
        ],
        "on_drift": {"action": "retrain", "job": "azureml:train@latest", "coalesce": "PT10M"},
        **changes,
    }
    return PromotionPolicy.model_validate(text)


class Stage:
    """One backend, one worker, one world. Use it as a context."""

    def __init__(self) -> None:
        self.world, self.records, self.rows = World(), MemoryRecords(), MemoryRows()
        self.clock = OffsetClock()
        self.notifier = RecordingNotifier()
        self.ledger = Ledger(self.records, self.rows, self.clock, signer=SIGNER)
        self.rules = policy()
        self.policies = MemoryPolicies([self.rules])
        self.lost_answers: set[str] = set()
        """Activities whose first answer is lost after the effect: the contract is at least once."""
        self._quiet, self._running, self._closed = threading.Condition(), 0, False

    def __enter__(self) -> Stage:
        self._backend = SqliteBackend(None, self.clock)
        address = self._backend.start()
        self._worker = TaskHubGrpcWorker(host_address=address)
        for orchestrator in ORCHESTRATORS:
            self._worker.add_orchestrator(orchestrator)
        for name, activity in ACTIVITIES.items():
            self._worker.add_activity(self._plain(name, activity))
        world: Any = self.world
        bootstrap.use(App(settings=SETTINGS, clock=self.clock, policies=self.policies, ledger=self.ledger, notifier=self.notifier,
                          identity=StaticIdentity(), tickets=MemoryTickets(self.clock), registry=world, deployments=world, jobs=world))
        self._worker.start()
        self.client = TaskHubGrpcClient(host_address=address)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self._backend.stop(0)
        with self._quiet:  # what runs still uses our app; what comes now finds the stage closed
            self._closed = True
            self._quiet.wait_for(lambda: self._running == 0)
        bootstrap.use(None)
        # The worker looks for work once a second and ends only then: nobody has to wait for that.
        threading.Thread(target=self._worker.stop, name="worker-stop", daemon=True).start()

    def _plain(self, name: str, activity: Callable[[dict], dict]) -> Any:
        @wraps(activity)
        def run(_: Any, payload: Any) -> dict:
            with self._here():
                result = activity(payload)
            if name in self.lost_answers:
                self.lost_answers.discard(name)
                raise ConnectionError(f"the answer of {name} was lost after its effect")
            return result

        del run.__wrapped__  # type: ignore[attr-defined]  # its own two arguments, not the activity's one
        run.__name__ = name
        run.__annotations__ = {}
        return run

    @contextmanager
    def _here(self) -> Iterator[None]:
        with self._quiet:
            if self._closed:
                raise RuntimeError("the stage is closed")
            self._running += 1
        try:
            yield
        finally:
            with self._quiet:
                self._running -= 1
                self._quiet.notify_all()

    # --- starting and waiting -----------------------------------------------------------------------------

    def request(self, version: str = "1", attempt: int = 1) -> PromotionRequest:
        wire = self.rules.wire()
        return PromotionRequest(
            id=promotion_id("/dev", "line", version, "line", attempt), attempt=attempt, policy=wire, policy_hash=digest(wire),
            source=AssetRef(name="line", version=version, workspace="dev"), trigger=Trigger(kind="event", id="e", at=self.now()))

    def start(self, orchestration: str, instance: str, message: dict[str, Any]) -> str:
        self.client.schedule_new_orchestration(orchestration, input=message, instance_id=instance, version="1.0.0")
        return instance

    def promote(self, version: str = "1") -> str:
        request = self.request(version)
        return self.start("promotion", request.id, request.wire())

    def now(self) -> str:
        return datetime.fromtimestamp(self.clock.timestamp(), UTC).isoformat(timespec="milliseconds")

    def ended(self, instance: str) -> dict[str, Any]:
        """Let time pass until an instance has ended; returns its output."""

        def look() -> dict[str, Any] | None:
            state = self.client.get_orchestration_state(instance, fetch_payloads=True)
            if state is None or state.runtime_status not in _ENDED:
                return None
            assert state.runtime_status is OrchestrationStatus.COMPLETED, state.failure_details or state.runtime_status
            return json.loads(state.serialized_output or "null")

        return self.until(look)

    def until[T](self, look: Callable[[], T | None], *, time_passes: bool = True) -> T:
        """Wait for something; while everything only waits, virtual time passes, faster and faster."""
        end, step = time.monotonic() + DEADLINE, 1.0
        while time.monotonic() < end:
            if (seen := look()) is not None:
                return seen
            if time_passes and self._idle():
                self._backend.set_offset(self.clock.offset_seconds + step)
                step = min(step * 2, 86400.0)
            else:
                step = 1.0
            time.sleep(0.005)
        raise AssertionError("it did not happen")

    def _idle(self) -> bool:
        """True when every instance waits for a timer or for people."""
        from emulator.durable.open_work import open_events

        with self._backend._lock:
            for item in self._backend._instances.values():
                if item.status in (pb.ORCHESTRATION_STATUS_PENDING, pb.ORCHESTRATION_STATUS_RUNNING):
                    events = [*item.history, *item.dispatched_events, *item.pending_events]
                    if item.pending_events or item.dispatched_events or item.status == pb.ORCHESTRATION_STATUS_PENDING:
                        return False
                    if any(event.HasField("taskScheduled") for event in open_events(events)):
                        return False
        return True

    # --- people --------------------------------------------------------------------------------------------

    def awaits(self, promotion: str) -> Any:
        """The open approval request; time passes until it is there."""
        return self.until(lambda: self.ledger.approvals.current(promotion))

    def vote(self, promotion: str, voter: str = "oid-grace", decision: str = "approve", reason: str = "") -> None:
        request = self.awaits(promotion)
        self.ledger.approvals.vote(Vote(
            promotion=promotion, stage="production", plan_hash=request.plan_hash, round=request.round, voter=voter, groups=["leads"],
            decision=Decision(decision), reason=reason, cast_at=self.now()))
        self.client.raise_orchestration_event(child_id(promotion, "approval"), VOTE_EVENT, data={"id": voter})

    def live(self, version: str = "1") -> str:
        """A version all the way into production; returns its promotion."""
        self.world.register(version=version)
        promotion = self.promote(version)
        self.vote(promotion)
        assert self.ended(promotion)["phase"] == "succeeded"
        return promotion
