"""The backend's history in the extension's JSON: what the sample app's histories do not show."""

from __future__ import annotations

import json
from typing import Any

import durabletask.internal.orchestrator_service_pb2 as pb
from google.protobuf import timestamp_pb2, wrappers_pb2

from emulator.functions_host.management.history import history_events


def _text(value: str) -> wrappers_pb2.StringValue:
    return wrappers_pb2.StringValue(value=value)


def _event(number: int, second: int, **kind: Any) -> pb.HistoryEvent:
    return pb.HistoryEvent(eventId=number, timestamp=timestamp_pb2.Timestamp(seconds=1_800_000_000 + second, nanos=123_456_789), **kind)


def test_a_retried_activity_shows_each_try_with_its_own_scheduled_time() -> None:
    failure = pb.TaskFailureDetails(errorType="ValueError", errorMessage="no", stackTrace=_text("at x"))
    events = [
        _event(1, 0, taskScheduled=pb.TaskScheduledEvent(name="try", input=_text("1"))),
        _event(-1, 1, taskFailed=pb.TaskFailedEvent(taskScheduledId=1, failureDetails=failure)),
        _event(1, 5, taskScheduled=pb.TaskScheduledEvent(name="try", input=_text("1"))),
        _event(-1, 6, taskCompleted=pb.TaskCompletedEvent(taskScheduledId=1, result=_text('"yes"')))]
    failed, completed = history_events(events, show_input=True, show_output=True)
    assert failed == {
        "EventType": "TaskFailed", "Timestamp": "2027-01-15T08:00:01.1234567Z", "Reason": "no", "Details": "at x",
        "FailureDetails": {"ErrorType": "ValueError", "ErrorMessage": "no", "StackTrace": "at x", "IsNonRetriable": False},
        "ScheduledTime": "2027-01-15T08:00:00.1234567Z", "FunctionName": "try", "Input": "1"}
    assert completed == {
        "EventType": "TaskCompleted", "Timestamp": "2027-01-15T08:00:06.1234567Z", "Result": "yes",
        "ScheduledTime": "2027-01-15T08:00:05.1234567Z", "FunctionName": "try", "Input": "1"}


def test_what_is_under_way_shows_as_begun() -> None:
    events = [_event(1, 0, taskScheduled=pb.TaskScheduledEvent(name="slow")),
              _event(2, 0, subOrchestrationInstanceCreated=pb.SubOrchestrationInstanceCreatedEvent(name="sub", instanceId="s-1"))]
    assert [(event["EventType"], event["Name"]) for event in history_events(events, show_input=False, show_output=False)] == [
        ("TaskScheduled", "slow"), ("SubOrchestrationInstanceCreated", "sub")]


def test_an_event_without_a_time_has_that_of_its_turn() -> None:
    turn = _event(-1, 3, orchestratorStarted=pb.OrchestratorStartedEvent())
    raised = pb.HistoryEvent(eventId=-1, eventRaised=pb.EventRaisedEvent(name="go", input=_text("{}")))
    assert history_events([turn, raised], show_input=True, show_output=False) == [
        {"EventType": "EventRaised", "Timestamp": "2027-01-15T08:00:03.1234567Z", "Name": "go", "Input": "{}"}]


def test_locks_and_signals_are_entity_messages() -> None:
    events = [
        _event(1, 0, entityLockRequested=pb.EntityLockRequestedEvent(criticalSectionId="c", lockSet=["@a@1", "@b@2"])),
        _event(-1, 0, entityLockGranted=pb.EntityLockGrantedEvent(criticalSectionId="c")),
        _event(2, 0, entityOperationSignaled=pb.EntityOperationSignaledEvent(requestId="r", operation="add",
            targetInstanceId=_text("@a@1"))),
        _event(3, 0, entityUnlockSent=pb.EntityUnlockSentEvent(criticalSectionId="c", parentInstanceId=_text("p"),
                                                               targetInstanceId=_text("@a@1"))),
        _event(-1, 0, entityOperationFailed=pb.EntityOperationFailedEvent(
            requestId="r", failureDetails=pb.TaskFailureDetails(errorType="E", errorMessage="m")))]
    shown = [(event["EventType"], event.get("InstanceId"), event["Name"], json.loads(event["Input"]))
             for event in history_events(events, show_input=True, show_output=True)]
    assert shown == [
        ("EventSent", "@a@1", "op", {"id": "c", "lockset": ["@a@1", "@b@2"], "pos": 0}),
        ("EventRaised", None, "c", {"result": None}),
        ("EventSent", "@a@1", "op", {"op": "add", "id": "r", "signal": True}),
        ("EventSent", "@a@1", "release", {"parent": "p", "id": "c"}),
        ("EventRaised", None, "r", {"exceptionType": "E", "result": "m"})]


def test_a_rejected_termination_reason_that_is_not_json_stays_text() -> None:
    events = [_event(-1, 0, executionTerminated=pb.ExecutionTerminatedEvent(input=_text("buggy"))),
              _event(4, 0, executionCompleted=pb.ExecutionCompletedEvent(orchestrationStatus=pb.ORCHESTRATION_STATUS_TERMINATED,
                  result=_text("buggy")))]
    terminated, completed = history_events(events, show_input=True, show_output=True)
    assert terminated["Input"] == "buggy"
    assert (completed["OrchestrationStatus"], completed["Result"]) == ("Terminated", "buggy")
