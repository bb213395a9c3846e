"""What is wrong in durabletask's test backend, and mended in ours. Each fault is shown in theirs first."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from concurrent import futures
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import durabletask.internal.helpers as helpers
import durabletask.internal.orchestrator_service_pb2 as pb
import durabletask.internal.orchestrator_service_pb2_grpc as stubs
import grpc
import pytest
from durabletask.testing import in_memory_backend as memory
from google.protobuf import empty_pb2

from emulator.durable import SqliteBackend
from tests.support.platform import wait_for
from tests.unit.emulator.durable.hand import Hand, child, continues, ends, events, timer

STARTED = "executionStarted"


def _now() -> datetime:
    return datetime.now(UTC)


# --- a sub-orchestration that takes longer than half a minute -------------------------------------------------


def _parent_waits(hand: Hand) -> pb.WorkItem:
    """A parent that waits for its child; returns the child's turn."""
    hand.start("parent")
    hand.answer(hand.turn("parent"), child(1, "kid"))
    return hand.turn("kid")


def test_theirs_waits_half_a_minute_for_a_sub_orchestration(their_hand: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float | None] = []
    over = threading.Event()

    class Impatient(threading.Event):
        """Time passes at once."""

        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout)
            over.set()
            return False

    class Waiter(memory.StateWaiter):
        def __init__(self, predicate: Any) -> None:
            super().__init__(predicate, Impatient())

    monkeypatch.setattr(memory, "StateWaiter", Waiter)
    kid = _parent_waits(their_hand)
    assert over.wait(10)
    assert waits == [30.0]
    wait_for("the watcher to give up", lambda: None if their_hand.backend._state_waiters else True)
    their_hand.answer(kid, ends())
    assert their_hand.backend._instances["parent"].pending_events == [], "the parent hears nothing, for ever"


def test_ours_waits_as_long_as_it_takes(ours: SqliteBackend, hand: Hand) -> None:
    kid = _parent_waits(hand)
    ours.set_offset(86400 * 30)
    hand.answer(kid, ends())
    assert [event.result.value for event in events(hand.turn("parent"), "subOrchestrationInstanceCompleted")] == ['"ended"']


# --- a timer of the generation before -----------------------------------------------------------------------------


def _leave_a_timer(hand: Hand, due: datetime) -> None:
    """A generation sets timer 1 and continues as new; the next one sets its own timer 1, far away."""
    hand.start("loop")
    hand.answer(hand.turn("loop"), timer(1, due), continues())
    hand.answer(hand.turn("loop"), timer(1, _now() + timedelta(days=365)))


def test_theirs_fires_the_timer_of_the_generation_before(their_hand: Hand) -> None:
    _leave_a_timer(their_hand, _now() + timedelta(seconds=0.05))
    assert [event.timerId for event in events(their_hand.turn("loop"), "timerFired")] == [1]


def test_ours_forgets_the_timer_of_the_generation_before(ours: SqliteBackend, hand: Hand) -> None:
    _leave_a_timer(hand, _now() + timedelta(hours=1))
    ours.set_offset(7200)
    hand.nothing_more()
    ours.set_offset(86400 * 366)
    assert [event.timerId for event in events(hand.turn("loop"), "timerFired")] == [1]


# --- start_at -------------------------------------------------------------------------------------------------


def _start_tomorrow(hand: Hand) -> None:
    hand.start("later", scheduledStartTimestamp=helpers.new_timestamp(_now() + timedelta(days=1)))


def test_theirs_starts_at_once_what_is_for_later(their_hand: Hand) -> None:
    _start_tomorrow(their_hand)
    their_hand.turn("later")


def test_ours_starts_when_it_is_time(ours: SqliteBackend, hand: Hand) -> None:
    _start_tomorrow(hand)
    hand.nothing_more()
    assert hand.status("later").orchestrationStatus == pb.ORCHESTRATION_STATUS_PENDING
    ours.set_offset(86401)
    assert len(events(hand.turn("later"), STARTED)) == 1


# --- clients that wait ------------------------------------------------------------------------------------------


def _wait_together(stub: Any, backend: Any, clients: int, timeout: float | None) -> list[Any]:
    """So many calls that wait for the end of one instance, once all are waiting."""
    stub.StartInstance(pb.CreateInstanceRequest(instanceId="slow", name="any"))
    calls = [stub.WaitForInstanceCompletion.future(pb.GetInstanceRequest(instanceId="slow"), timeout=timeout) for _ in range(clients)]
    wait_for("all to wait", lambda: True if len(backend._state_waiters.get("slow", ())) == clients else None)
    return calls


def test_theirs_is_blocked_by_ten_clients_that_wait() -> None:
    with socket.create_server(("127.0.0.1", 0)) as chosen:
        port = chosen.getsockname()[1]
    backend = memory.create_test_backend(port=port)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub: Any = stubs.TaskHubSidecarServiceStub(channel)
        calls = _wait_together(stub, backend, 10, timeout=60)
        with pytest.raises(grpc.RpcError) as refused:
            stub.Hello(empty_pb2.Empty(), timeout=0.5)
        assert refused.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        for call in calls:
            call.cancel()
    backend.reset()
    backend.stop(0)


def test_ours_serves_while_two_hundred_clients_wait(ours: SqliteBackend) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{ours._port}") as channel:
        stub: Any = stubs.TaskHubSidecarServiceStub(channel)
        calls = _wait_together(stub, ours, 200, timeout=None)
        stub.Hello(empty_pb2.Empty(), timeout=10)
        # One whose caller goes away gives its thread back.
        calls.pop().cancel()
        wait_for("the one that left to be forgotten", lambda: True if len(ours._state_waiters.get("slow", ())) == 199 else None)
        hand = Hand(ours)
        hand.answer(hand.turn("slow"), ends())
        ended = [call.result(timeout=10).orchestrationState.orchestrationStatus for call in calls]
    assert ended == [pb.ORCHESTRATION_STATUS_COMPLETED] * 199


# --- who can reach it ---------------------------------------------------------------------------------------------


def _listening(port: int) -> set[str]:
    """Addresses that listen on a port, as the kernel writes them."""
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            address, state = line.split()[1], line.split()[3]
            if state == "0A" and int(address.rpartition(":")[2], 16) == port:
                found.add(address.rpartition(":")[0])
    return found


def test_theirs_listens_on_every_interface() -> None:
    with socket.create_server(("127.0.0.1", 0)) as chosen:
        port = chosen.getsockname()[1]
    backend = memory.create_test_backend(port=port)
    everywhere = _listening(port)
    backend.stop(0)
    assert everywhere & {"0" * 32, "0" * 8}


def test_ours_listens_on_this_machine_only(ours: SqliteBackend) -> None:
    loopback = "0100007F"  # 127.0.0.1, also as gRPC has it: mapped into IPv6
    assert _listening(ours._port) <= {loopback, "0" * 16 + "FFFF0000" + loopback}
    assert _listening(ours._port)


# --- timers and threads -------------------------------------------------------------------------------------------


def _many_timers(hand: Hand, count: int, due: datetime) -> int:
    """Threads that so many timers add."""
    hand.start("alarm-clock")
    item, before = hand.turn("alarm-clock"), threading.active_count()
    hand.answer(item, *(timer(number, due) for number in range(1, count + 1)))
    return threading.active_count() - before


def test_theirs_has_a_thread_for_each_timer(their_hand: Hand) -> None:
    assert _many_timers(their_hand, 50, _now() + timedelta(seconds=1)) >= 45  # some of a busy machine's other threads may end


def test_ours_has_one_wheel_for_a_thousand(ours: SqliteBackend, hand: Hand) -> None:
    assert _many_timers(hand, 1000, _now() + timedelta(hours=1)) <= 0
    ours.set_offset(3601)
    fired = events(hand.turn("alarm-clock"), "timerFired")
    while len(fired) < 1000:
        ours.RaiseEvent(pb.RaiseEventRequest(instanceId="alarm-clock", name="more"), hand.context)
        fired += events(hand.turn("alarm-clock"), "timerFired")
    assert sorted(event.timerId for event in fired) == list(range(1, 1001))


# --- families -----------------------------------------------------------------------------------------------------


def _terminate_family(hand: Hand) -> None:
    hand.answer(_parent_waits(hand))
    hand.call("TerminateInstance", pb.TerminateRequest(instanceId="parent", recursive=True))
    assert events(hand.turn("parent"), "executionTerminated")


def test_theirs_terminates_the_parent_only(their_hand: Hand) -> None:
    _terminate_family(their_hand)
    their_hand.nothing_more()


def test_ours_terminates_the_whole_family(hand: Hand) -> None:
    _terminate_family(hand)
    assert events(hand.turn("kid"), "executionTerminated")


@pytest.mark.parametrize(("whose", "parents"), [("their_hand", [""]), ("hand", ["parent"])])
def test_a_sub_orchestration_knows_its_parent(whose: str, parents: list[str], request: pytest.FixtureRequest) -> None:
    kid = _parent_waits(request.getfixturevalue(whose))
    assert [event.parentInstance.orchestrationInstance.instanceId for event in events(kid, STARTED)] == parents


def test_ours_knows_its_parent_in_every_generation(hand: Hand) -> None:
    kid = _parent_waits(hand)
    hand.answer(kid, continues())
    assert [event.parentInstance.orchestrationInstance.instanceId for event in events(hand.turn("kid"), STARTED)] == ["parent"]


# --- entities -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("whose", "exists"), [("their_hand", True), ("hand", False)])
def test_an_entity_whose_state_is_gone_does_not_exist(whose: str, exists: bool, request: pytest.FixtureRequest) -> None:
    hand: Hand = request.getfixturevalue(whose)
    for state in ("1", None):
        hand.signal("@tally@one")
        hand.served(hand.take(), state)
        found = hand.call("GetEntity", pb.GetEntityRequest(instanceId="@tally@one", includeState=True))
        assert found.exists is (state is not None or exists)
    listed = hand.call("QueryEntities", pb.QueryEntitiesRequest(query=pb.EntityQuery(includeState=True)))
    assert bool(listed.entities) is exists


def test_ours_lists_an_entity_without_state_to_who_asks_and_cleans_it_away(hand: Hand) -> None:
    hand.signal("@tally@one")
    hand.served(hand.take(), None)
    transient = pb.QueryEntitiesRequest(query=pb.EntityQuery(includeTransient=True))
    assert [entity.instanceId for entity in hand.call("QueryEntities", transient).entities] == ["@tally@one"]
    cleaned = hand.call("CleanEntityStorage", pb.CleanEntityStorageRequest(removeEmptyEntities=True))
    assert cleaned.emptyEntitiesRemoved == 1
    assert not hand.call("QueryEntities", transient).entities


def _all_at_once(calls: list[Callable[[], Any]]) -> list[Any]:
    with futures.ThreadPoolExecutor(len(calls)) as pool:
        return [done.result() for done in [pool.submit(call) for call in calls]]


def test_changes_that_come_together_share_a_transaction(ours: SqliteBackend, hand: Hand) -> None:
    """With the first one's transaction held up, those that come meanwhile are written as one."""
    write, begun, may_go = ours.journal.write, threading.Event(), threading.Event()

    def slow(batch: Any) -> None:
        begun.set()
        assert may_go.wait(10)
        write(batch)

    ours.journal.write = slow  # type: ignore[method-assign]
    before = ours.commits

    def release() -> None:
        assert begun.wait(10)
        wait_for("all to be there", lambda: True if len(ours._instances) == 20 else None)
        may_go.set()

    _all_at_once([release, *(lambda name=str(number): hand.start(name) for number in range(20))])
    assert 2 <= ours.commits - before <= 3  # the first one's, and that of all who came while it was written
