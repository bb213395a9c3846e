"""The durable surface through durabletask's own client, and what is left of it after a restart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import durabletask.internal.orchestrator_service_pb2 as pb
import grpc
import pytest
from durabletask import task
from durabletask.client import EntityQuery, OrchestrationQuery, OrchestrationStatus
from durabletask.entities import EntityContext, EntityInstanceId
from durabletask.worker import TaskHubGrpcWorker

from tests.integration.emulator.durable.task_hub import TaskHub
from tests.support.platform import wait_for

ready: set[str] = set()
"""Names of what `fragile` can do now."""


def echo(_: task.OrchestrationContext, given: Any) -> Any:
    return given


def same(_: task.ActivityContext, given: Any) -> Any:
    return given


def through(context: task.OrchestrationContext, given: Any) -> Iterator[Any]:
    return (yield context.call_activity(same, input=given))


def letters(context: task.OrchestrationContext, count: int) -> Iterator[Any]:
    heard = []
    for _ in range(count):
        heard.append((yield context.wait_for_external_event("letter")))  # noqa: PERF401 (yields)
    return heard


def fragile(_: task.ActivityContext, name: str) -> str:
    if name not in ready:
        raise RuntimeError(f"{name} is not ready")
    return f"{name} done"


def breaks(context: task.OrchestrationContext, name: str) -> Iterator[Any]:
    return (yield context.call_activity(fragile, input=name))


def family(context: task.OrchestrationContext, name: str) -> Iterator[Any]:
    """Its own activity, one of a child, and a timer that is still to come when the child fails."""
    first = yield context.call_activity(same, input=f"{name} begun")
    alarm = context.create_timer(timedelta(hours=1))
    second = yield context.call_sub_orchestrator(breaks, input=name, instance_id=f"{name}-child")
    yield alarm
    return [first, second]


def again(context: task.OrchestrationContext, left: int) -> Iterator[Any]:
    yield context.create_timer(timedelta(hours=1))
    if left:
        context.continue_as_new(left - 1)
        return None
    return "over"


def tally(context: EntityContext, given: Any) -> Any:
    if context.operation == "delete":
        context.set_state(None)
    else:
        context.set_state((context.get_state(int, 0) or 0) + given)
    return context.get_state(int)


def critical(context: task.OrchestrationContext, key: str) -> Iterator[Any]:
    """Holds an entity until it is told to let go."""
    entity = EntityInstanceId("tally", key)
    with (yield context.lock_entities([entity])):
        yield context.call_entity(entity, "add", 1)
        yield context.wait_for_external_event("go")
        return (yield context.call_entity(entity, "add", 1))


def register(worker: TaskHubGrpcWorker) -> None:
    for orchestrator in (echo, through, letters, breaks, family, again, critical):
        worker.add_orchestrator(orchestrator)
    worker.add_activity(same)
    worker.add_activity(fragile)
    worker.add_entity(tally)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[TaskHub]:
    hub = TaskHub(tmp_path / "durable.sqlite", register)
    yield hub
    hub.leave()


def _refused(call: Callable[[], Any]) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as error:
        call()
    return error.value.code()


def test_two_megabytes_go_in_and_out_and_stay(hub: TaskHub) -> None:
    payload = {"text": "x" * 2_000_000}
    hub.client.schedule_new_orchestration(through, input=payload, instance_id="large")
    assert hub.output("large") == payload
    hub.restart()
    state = hub.client.get_orchestration_state("large")
    assert state is not None
    assert state.get_input() == state.get_output() == payload
    small = hub.client.get_orchestration_state("large", fetch_payloads=False)
    assert small is not None
    assert (small.serialized_input, small.serialized_output) == (None, None)


def test_tags_version_parent_and_times_stay(hub: TaskHub) -> None:
    due = datetime.now(UTC) + timedelta(hours=1)
    hub.client.schedule_new_orchestration(letters, input=1, instance_id="tagged", tags={"team": "fruit"}, version="1.2", start_at=due)
    hub.restart()
    state = _raw(hub, "tagged")
    assert (dict(state.tags), state.version.value, state.scheduledStartTimestamp.ToDatetime(UTC)) == ({"team": "fruit"}, "1.2", due)
    assert hub.client.get_orchestration_state("tagged").runtime_status is OrchestrationStatus.PENDING
    hub.advance(3601)
    hub.client.raise_orchestration_event("tagged", "letter", data="a")
    assert hub.output("tagged") == ["a"]
    assert hub.client.restart_orchestration("tagged") == "tagged"
    hub.client.raise_orchestration_event("tagged", "letter", data="b")
    assert hub.output("tagged") == ["b"]
    hub.client.schedule_new_orchestration(family, input="timed", instance_id="timed")
    hub.ended("timed-child")
    hub.restart()
    assert dict(_raw(hub, "tagged").tags) == {"team": "fruit"}
    child = _raw(hub, "timed-child")
    assert (child.parentInstanceId.value, child.completedTimestamp.seconds >= child.createdTimestamp.seconds) == ("timed", True)


def _raw(hub: TaskHub, instance: str) -> Any:
    return hub.backend._state(hub.backend._instances[instance], include_payloads=True)


def test_terminated_before_its_start_it_never_runs(hub: TaskHub) -> None:
    hub.client.schedule_new_orchestration(echo, input="no", instance_id="never", start_at=datetime.now(UTC) + timedelta(hours=1))
    hub.client.terminate_orchestration("never", output="changed my mind")
    ended = hub.ended("never")
    assert (ended.runtime_status, ended.get_output()) == (OrchestrationStatus.TERMINATED, "changed my mind")
    hub.restart()
    hub.advance(7200)
    assert hub.client.get_orchestration_state("never").runtime_status is OrchestrationStatus.TERMINATED
    hub.client.restart_orchestration("never")
    assert hub.output("never") == "no"


def test_an_id_that_is_used_is_refused(hub: TaskHub) -> None:
    hub.client.schedule_new_orchestration(echo, input=1, instance_id="once")
    assert _refused(lambda: hub.client.schedule_new_orchestration(echo, input=2, instance_id="once")) == grpc.StatusCode.ALREADY_EXISTS
    hub.restart()
    assert _refused(lambda: hub.client.schedule_new_orchestration(echo, input=2, instance_id="once")) == grpc.StatusCode.ALREADY_EXISTS
    assert hub.output("once") == 1
    assert _refused(lambda: hub.client.raise_orchestration_event("nobody", "letter")) == grpc.StatusCode.NOT_FOUND
    assert hub.client.get_orchestration_state("nobody") is None
    assert hub.client.wait_for_orchestration_completion("nobody", timeout=0.2) is None


def test_a_history_is_exported_the_same_after_a_restart(hub: TaskHub) -> None:
    hub.client.schedule_new_orchestration(letters, input=150, instance_id="long")
    for number in range(150):
        hub.client.raise_orchestration_event("long", "letter", data=number)
    assert hub.output("long") == list(range(150))
    before = hub.history("long")
    assert len(before) > 150  # more than one chunk of the stream
    assert all(event.timestamp.year >= 2020 for event in before), "each event says when it happened"
    hub.restart()
    assert hub.history("long") == before
    assert _refused(lambda: hub.history("nobody")) == grpc.StatusCode.NOT_FOUND


def test_instances_are_listed_by_page_and_filter(hub: TaskHub) -> None:
    names = [f"list-{number:02}" for number in range(25)]
    for name in names:
        hub.client.schedule_new_orchestration(echo if name < "list-20" else letters, input=1, instance_id=name)
    for name in names[:20]:
        hub.ended(name)
    wait_for("all to run", lambda: True if len(_listed(hub, runtime_status=[OrchestrationStatus.RUNNING])) == 5 else None)
    hub.restart()
    assert _listed(hub, max_instance_count=7) == names
    assert _listed(hub, runtime_status=[OrchestrationStatus.RUNNING], max_instance_count=2) == names[20:]
    middle = hub.client.get_orchestration_state("list-10").created_at
    assert _listed(hub, created_time_from=middle) == names[10:]
    assert _listed(hub, created_time_to=middle) == names[:10]
    ids, token = [], None
    while page := hub.client.list_instance_ids(page_size=6, continuation_token=token):
        ids += list(page.items)
        if (token := page.continuation_token) is None:
            break
    assert sorted(ids) == names[:20]


def _listed(hub: TaskHub, **wanted: Any) -> list[str]:
    return [state.instance_id for state in hub.client.get_all_orchestration_states(OrchestrationQuery(**wanted))]


def test_a_page_is_not_shifted_by_what_goes_meanwhile(hub: TaskHub) -> None:
    for number in range(6):
        hub.client.schedule_new_orchestration(echo, input=1, instance_id=f"page-{number}")
        hub.ended(f"page-{number}")

    def page(token: Any) -> Any:
        query = pb.InstanceQuery(maxInstanceCount=2, continuationToken=token, instanceIdPrefix={"value": "page-"})
        return hub.client._stub.QueryInstances(pb.QueryInstancesRequest(query=query))

    first = page(None)
    hub.client.purge_orchestration("page-0")
    second = page(first.continuationToken)
    assert [state.instanceId for state in second.orchestrationState] == ["page-2", "page-3"]
    assert _refused(lambda: page({"value": "rubbish"})) == grpc.StatusCode.INVALID_ARGUMENT


def test_purging_takes_what_has_ended_with_its_family(hub: TaskHub) -> None:
    ready.add("purged")
    hub.client.schedule_new_orchestration(family, input="purged", instance_id="purged")
    hub.ended("purged-child")
    assert hub.client.purge_orchestration("purged").deleted_instance_count == 0, "it still runs"
    hub.advance(3601)
    hub.ended("purged")
    assert hub.client.purge_orchestration("purged").deleted_instance_count == 2
    for name in ("done-1", "done-2", "stopped"):
        hub.client.schedule_new_orchestration(letters if name == "stopped" else echo, input=1, instance_id=name)
    hub.client.terminate_orchestration("stopped")
    for name in ("done-1", "done-2", "stopped"):
        hub.ended(name)
    purged = hub.client.purge_orchestrations_by(runtime_status=[OrchestrationStatus.COMPLETED], created_time_to=hub.clock.now())
    assert purged.deleted_instance_count == 2
    hub.restart()
    assert _listed(hub) == ["stopped"]


def test_a_failed_family_is_rewound_and_goes_on(hub: TaskHub) -> None:
    ready.discard("mended")
    hub.client.schedule_new_orchestration(family, input="mended", instance_id="mended")
    assert hub.ended("mended").runtime_status is OrchestrationStatus.FAILED
    hub.restart()
    assert hub.client.get_orchestration_state("mended").failure_details is not None
    ready.add("mended")
    hub.client.rewind_orchestration("mended", reason="it is ready now")
    hub.ended("mended-child")
    hub.restart()
    hub.advance(3601)  # the timer of the history that was kept
    assert hub.output("mended") == ["mended begun", "mended done"]
    assert _refused(lambda: hub.client.rewind_orchestration("mended")) == grpc.StatusCode.FAILED_PRECONDITION


def test_events_are_kept_while_suspended(hub: TaskHub) -> None:
    hub.client.schedule_new_orchestration(letters, input=2, instance_id="held")
    hub.client.suspend_orchestration("held")
    hub.becomes("held", OrchestrationStatus.SUSPENDED)
    hub.client.raise_orchestration_event("held", "letter", data="a")
    hub.restart()
    assert hub.client.get_orchestration_state("held").runtime_status is OrchestrationStatus.SUSPENDED
    hub.client.raise_orchestration_event("held", "letter", data="b")
    hub.client.resume_orchestration("held")
    assert hub.output("held") == ["a", "b"]


def test_generations_go_on_over_restarts(hub: TaskHub) -> None:
    hub.client.schedule_new_orchestration(again, input=2, instance_id="again", tags={"kept": "yes"})
    for _ in range(3):
        wait_for("its timer", lambda: True if hub.backend._instances["again"].history and hub.backend.wheel._due else None)
        hub.restart()
        wait_for("its timer", lambda: True if hub.backend.wheel._due else None)
        hub.advance(3601)
        generation = hub.backend._instances["again"].__dict__["_generation"]
        wait_for("the next generation", lambda was=generation: True if _moved_on(hub, was) else None)
    assert hub.output("again") == "over"
    assert dict(_raw(hub, "again").tags) == {"kept": "yes"}


def _moved_on(hub: TaskHub, generation: int) -> bool:
    item = hub.backend._instances["again"]
    return item.__dict__["_generation"] != generation or hub.backend._is_terminal_status(item.status)


def test_entities_are_signalled_read_listed_and_cleaned(hub: TaskHub) -> None:
    one, two = EntityInstanceId("tally", "one"), EntityInstanceId("tally", "two")
    for number in range(1, 4):
        hub.client.signal_entity(one, "add", number)
    hub.client.signal_entity(two, "add", 10)
    hub.client.signal_entity(two, "add", 5, signal_time=datetime.now(UTC) + timedelta(days=1))
    wait_for("both sums", lambda: True if _sums(hub) == {"@tally@one": 6, "@tally@two": 10} else None)
    hub.restart()
    assert _sums(hub) == {"@tally@one": 6, "@tally@two": 10}
    hub.advance(86401)
    wait_for("the delayed signal", lambda: True if _sums(hub)["@tally@two"] == 15 else None)
    hub.client.signal_entity(one, "delete")
    wait_for("one to be gone", lambda: True if hub.client.get_entity(one) is None else None)
    hub.restart()
    assert (hub.client.get_entity(one), _sums(hub)) == (None, {"@tally@two": 15})
    assert hub.client.clean_entity_storage().empty_entities_removed == 1
    hub.advance(86401)  # the signal was delivered once: no restart brings it back
    assert _sums(hub) == {"@tally@two": 15}
    assert hub.client.purge_orchestration(str(two)).deleted_instance_count == 1
    hub.restart()
    assert hub.client.get_entity(two) is None


def _sums(hub: TaskHub) -> dict[str, int]:
    found = hub.client.get_all_entities(EntityQuery(instance_id_starts_with="@tally@", include_state=True, page_size=1))
    return {str(entity.id): int(entity.get_state(int)) for entity in found}


def test_a_locked_entity_serves_its_holder_only_also_after_a_restart(hub: TaskHub) -> None:
    entity = EntityInstanceId("tally", "locked")
    hub.client.schedule_new_orchestration(critical, input="locked", instance_id="holder")
    wait_for("the holder to have counted", lambda: True if _sums(hub).get("@tally@locked") == 1 else None)
    hub.client.signal_entity(entity, "add", 100)
    hub.client.schedule_new_orchestration(critical, input="locked", instance_id="second")
    hub.becomes("second", OrchestrationStatus.RUNNING)
    hub.restart()
    kept = hub.client._stub.GetEntity(pb.GetEntityRequest(instanceId=str(entity)))
    assert kept.entity.lockedBy.value == "holder"
    assert hub.client.clean_entity_storage().orphaned_locks_released == 0, "its holder runs"
    hub.client.raise_orchestration_event("holder", "go")
    assert hub.output("holder") == 2, "the signal waited for the lock to go"
    hub.client.raise_orchestration_event("second", "go")
    assert hub.output("second") == 4, "the next holder goes before what waits for all locks to go"
    wait_for("all to be counted", lambda: True if _sums(hub)["@tally@locked"] == 104 else None)


def test_work_of_a_worker_that_goes_away_is_given_to_another(hub: TaskHub) -> None:
    hub.restart(worker=False)
    hub.client.schedule_new_orchestration(echo, input=5, instance_id="orphan")
    stream = hub.client._stub.GetWorkItems(pb.GetWorkItemsRequest())
    assert next(iter(stream)).orchestratorRequest.instanceId == "orphan"
    stream.cancel()
    hub.serve()
    assert hub.output("orphan") == 5
