"""Work items: nothing that may be dispatched waits for an unrelated event, nothing is given or answered twice."""

from __future__ import annotations

import queue
import sqlite3
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import durabletask.internal.orchestrator_service_pb2 as pb
import pytest
from durabletask.internal.helpers import new_timestamp as timestamp

from emulator.durable import SqliteBackend
from emulator.durable.journal import Batch
from emulator.durable.virtual_time import OffsetClock
from tests.support.platform import wait_for
from tests.unit.emulator.durable.hand import DEADLINE, Aborted, Context, Hand, activity, child, continues, ends, events, timer


def test_an_activity_that_ends_during_a_turn_is_not_forgotten(hand: Hand) -> None:
    hand.start("one")
    hand.answer(hand.turn("one"), activity(1), activity(2))
    first, second = hand.take(), hand.take()
    hand.done(first)
    turn = hand.turn("one")  # the instance is in flight now
    hand.done(second)
    # An instance that comes later is served meanwhile: the one in flight does not stand in its way.
    hand.nothing_more()
    hand.answer(turn)
    assert [event.taskScheduledId for event in events(hand.turn("one"), "taskCompleted")] == [2]


def test_an_activity_that_ends_after_its_instance_does_not_bring_it_back(hand: Hand) -> None:
    hand.start("one")
    hand.answer(hand.turn("one"), activity(1))
    work = hand.take()
    hand.call("TerminateInstance", pb.TerminateRequest(instanceId="one"))
    hand.answer(hand.turn("one"), ends(pb.ORCHESTRATION_STATUS_TERMINATED))
    hand.done(work)
    hand.nothing_more()


def test_an_answer_counts_once_and_only_in_its_generation(hand: Hand) -> None:
    hand.start("loop")
    hand.answer(hand.turn("loop"), activity(1), activity(2))
    first, second = hand.take(), hand.take()
    hand.done(first)
    hand.done(first, '"again"')
    turn = hand.turn("loop")
    assert [event.result.value for event in events(turn, "taskCompleted")] == ['"done"']
    hand.answer(turn, continues())
    hand.answer(hand.turn("loop"), activity(2))
    hand.done(second, '"of the generation before"')
    hand.done(hand.take(), '"of this one"')
    assert [event.result.value for event in events(hand.turn("loop"), "taskCompleted")] == ['"of this one"']


def test_a_result_of_a_child_that_was_left_behind_is_nobodys(hand: Hand) -> None:
    hand.start("loop")
    hand.answer(hand.turn("loop"), child(1, "kid"), continues())
    kid, loop = hand.take(), hand.take()
    if kid.orchestratorRequest.instanceId == "loop":
        kid, loop = loop, kid
    hand.answer(loop, timer(1, datetime.now(UTC) + timedelta(days=1)))
    hand.answer(kid, ends())
    hand.nothing_more()


@pytest.mark.parametrize("command", ["ResumeInstance", "TerminateInstance"])
def test_a_command_that_comes_while_it_is_being_suspended_is_not_forgotten(hand: Hand, command: str) -> None:
    hand.start("one")
    hand.answer(hand.turn("one"), timer(1, datetime.now(UTC) + timedelta(days=1)))
    hand.call("SuspendInstance", pb.SuspendRequest(instanceId="one"))
    suspending = hand.turn("one")
    request = pb.ResumeRequest if command == "ResumeInstance" else pb.TerminateRequest
    hand.call(command, request(instanceId="one"))
    hand.answer(suspending)
    assert hand.turn("one").orchestratorRequest.newEvents


def test_work_of_a_stream_that_ends_is_given_to_another_and_late_turns_are_refused(ours: SqliteBackend, hand: Hand) -> None:
    for name in ("one", "two"):
        hand.start(name)
    hand.answer(hand.turn("one"), activity(1))
    late = hand.turn("two")
    work = hand.take()
    hand.leave()
    other = Hand(ours)
    given = [other.take(), other.take()]
    assert sorted(str(item.WhichOneof("request")) for item in given) == ["activityRequest", "orchestratorRequest"]
    hand.answer(late, ends(result='"too late"'))
    hand.done(work, '"late, but the first"')
    assert [event.result.value for event in events(other.turn("one"), "taskCompleted")] == ['"late, but the first"']
    assert hand.status("two").orchestrationStatus == pb.ORCHESTRATION_STATUS_PENDING


def test_abandoned_work_comes_back(hand: Hand) -> None:
    hand.start("one")
    turn = hand.turn("one")
    hand.call("AbandonTaskOrchestratorWorkItem", pb.AbandonOrchestrationTaskRequest(completionToken=turn.completionToken))
    again = hand.turn("one")
    assert len(events(again, "executionStarted")) == 1
    hand.answer(again, activity(1))
    work = hand.take()
    hand.call("AbandonTaskActivityWorkItem", pb.AbandonActivityTaskRequest(completionToken=work.completionToken))
    hand.done(hand.take())
    assert len(events(hand.turn("one"), "taskCompleted")) == 1
    hand.signal("@tally@one")
    served = hand.take()
    hand.call("AbandonTaskEntityWorkItem", pb.AbandonEntityTaskRequest(completionToken=served.completionToken))
    assert len(hand.take().entityRequestV2.operationRequests) == 1


def test_streams_that_share_the_work_are_all_woken(ours: SqliteBackend) -> None:
    """Each serves one kind; the test backend's event is taken by whoever looks first."""
    apart = {name: queue.Queue[pb.WorkItem]() for name in ("apples", "pears")}

    def receive(name: str) -> None:
        wanted = pb.WorkItemFilters(orchestrations=[pb.OrchestrationFilter(name=name)])
        for item in ours.GetWorkItems(pb.GetWorkItemsRequest(workItemFilters=wanted), Context()):
            apart[name].put(item)

    for name in apart:
        threading.Thread(target=receive, args=(name,), daemon=True).start()
    for number in range(200):
        for name, items in apart.items():
            ours.StartInstance(pb.CreateInstanceRequest(instanceId=f"{name}-{number}", name=name), Context())
            assert items.get(timeout=DEADLINE).orchestratorRequest.instanceId == f"{name}-{number}"


def test_what_cannot_be_written_is_not_acknowledged_nor_given_out(ours: SqliteBackend, hand: Hand) -> None:
    write, full = ours.journal.write, threading.Event()
    full.set()

    def refuse(batch: Batch) -> None:
        if full.is_set():
            raise sqlite3.OperationalError("database or disk is full")
        write(batch)

    ours.journal.write = refuse  # type: ignore[method-assign]
    with pytest.raises(sqlite3.OperationalError):
        hand.start("one")
    with pytest.raises(sqlite3.OperationalError):
        hand.status("one")  # nor is its existence told
    full.clear()
    assert hand.turn("one").orchestratorRequest.instanceId == "one"


def test_idle_no_thread_of_it_wakes(ours: SqliteBackend, hand: Hand) -> None:
    """Every wait is without an end, or until the next timer: none is a poll."""
    hand.start("one")
    hand.answer(hand.turn("one"), timer(1, datetime.now(UTC) + timedelta(days=1)))
    waits: list[float | None] = []
    wait = threading.Condition.wait

    def noting(self: threading.Condition, timeout: float | None = None) -> bool:
        if self in (ours.wheel._changed, ours._waking.condition):
            waits.append(timeout)
        return wait(self, timeout)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Condition, "wait", noting)
        ours.set_offset(60)  # wakes the wheel, which has nothing to do
        hand.nothing_more()  # wakes the stream
        wait_for("both to sleep again", lambda: True if len(waits) >= 2 else None)
    assert all(timeout is None or timeout > 80_000 for timeout in waits)
    assert None in waits


def test_a_reset_forgets_everything_for_good(file: Path) -> None:
    backend = SqliteBackend(file, OffsetClock())
    backend.start()
    hand = Hand(backend)
    hand.start("old")
    hand.answer(hand.turn("old"), timer(1, datetime.now(UTC) + timedelta(hours=1)))
    hand.signal("@tally@one")
    hand.served(hand.take(), "1")
    hand.signal("@tally@one", scheduledTime=timestamp(datetime.now(UTC) + timedelta(hours=1)))
    backend.reset()
    backend.set_offset(7200)
    hand.nothing_more()
    backend.stop(0)
    again = SqliteBackend(file, OffsetClock())
    again.start()
    assert (list(again._instances), list(again._entities), again.wheel._due) == (["afterwards"], [], [])
    again.stop(0)


def test_an_answer_after_the_stop_is_refused(file: Path) -> None:
    backend = SqliteBackend(file, OffsetClock())
    backend.start()
    hand = Hand(backend)
    hand.start("one")
    item = hand.turn("one")
    backend.stop(0)
    with pytest.raises(Aborted, match="UNAVAILABLE"):
        hand.answer(item, ends())
    again = SqliteBackend(file, OffsetClock())
    again.start()
    assert events(Hand(again).turn("one"), "executionStarted")
    again.stop(0)
