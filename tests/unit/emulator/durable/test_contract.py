"""What the durable backend uses of durabletask's test backend, which is private: held to the version it was written for."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
from importlib.metadata import version
from typing import Any

import pytest
from durabletask.testing import in_memory_backend as memory

from emulator.durable import SqliteBackend

VERSION = "1.12.0"
METHODS = {
    "AbandonTaskActivityWorkItem": ("self, request, context", "8ee0823fc937"),
    "AbandonTaskEntityWorkItem": ("self, request, context", "444dfc47f2ad"),
    "AbandonTaskOrchestratorWorkItem": ("self, request, context", "582f7824c5ce"),
    "CleanEntityStorage": ("self, request, context", "5c27157e373c"),
    "CompleteActivityTask": ("self, request, context", "c59f6356c899"),
    "CompleteEntityTask": ("self, request, context", "a94091b7f529"),
    "CompleteOrchestratorTask": ("self, request, context", "29c952021810"),
    "CreateTaskHub": ("self, request, context", "ab749ec05130"),
    "DeleteTaskHub": ("self, request, context", "de87e967ea55"),
    "GetEntity": ("self, request, context", "3bd0d93d62de"),
    "GetInstance": ("self, request, context", "e63e76000887"),
    "GetWorkItems": ("self, request, context", "0b7ffb9a360b"),
    "Hello": ("self, request, context", "147b5ed1f8a0"),
    "ListInstanceIds": ("self, request, context", "3269cb04e98a"),
    "PurgeInstances": ("self, request, context", "3b06f05e2c3f"),
    "QueryEntities": ("self, request, context", "a5aaad365529"),
    "QueryInstances": ("self, request, context", "2d5d2485167c"),
    "RaiseEvent": ("self, request, context", "752b153cc698"),
    "RestartInstance": ("self, request, context", "37ab08a73d2c"),
    "ResumeInstance": ("self, request, context", "ce3bb9d0829f"),
    "RewindInstance": ("self, request, context", "722b67e0a44b"),
    "SignalEntity": ("self, request, context", "87fae3721c6f"),
    "StartInstance": ("self, request, context", "76e0432ad519"),
    "StreamInstanceHistory": ("self, request, context", "1364c2667c08"),
    "SuspendInstance": ("self, request, context", "c9df3ac7626d"),
    "TerminateInstance": ("self, request, context", "5b14d433da2e"),
    "WaitForInstanceCompletion": ("self, request, context", "fd6fc4e4626d"),
    "WaitForInstanceStart": ("self, request, context", "cbbb48145f31"),
    "__init__": ("self, max_history_size, port", "626061efab5c"),
    "_build_instance_response": ("self, instance, include_payloads", "3ff18e25584f"),
    "_can_grant_lock": ("self, pending", "87e3f377be1f"),
    "_clone_history_event": ("event", "8d2b8e89f857"),
    "_create_instance_internal": ("self, instance_id, name, encoded_input, version", "632249afac3d"),
    "_enqueue_entity": ("self, entity_id", "a1ef0e513e37"),
    "_enqueue_orchestration": ("self, instance_id", "ee582f85edde"),
    "_grant_lock": ("self, pending", "d7d11e54d838"),
    "_is_terminal_status": ("self, status", "a83a4020b54b"),
    "_is_terminal_status_check": ("self, instance", "a92d5377bf02"),
    "_matches_filter": ("name, version, filt", "b8c89e20b34a"),
    "_notify_waiters": ("self, instance_id", "702191d33c29"),
    "_parse_work_item_filters": ("request", "c9bd9b97622c"),
    "_prepare_rewind": ("self, instance, reason", "23da87f6ad6d"),
    "_process_action": ("self, instance, action", "f32d0e6732b6"),
    "_process_complete_orchestration_action": ("self, instance, complete_action", "8b057fdd73a8"),
    "_process_create_sub_orchestration_action": ("self, instance, action", "2146c1298e88"),
    "_process_create_timer_action": ("self, instance, action", "ba6078bb4db5"),
    "_process_rewind_orchestration_action": ("self, instance, rewind_action", "0315b7860556"),
    "_process_schedule_task_action": ("self, instance, action", "3cfc235a9b62"),
    "_process_send_entity_message_action": ("self, instance, action", "ff8d4f0434fe"),
    "_process_send_event_action": ("self, source_instance, action", "d1b6b0ee3856"),
    "_queue_entity_operation": ("self, entity_id, event", "2ecd5e6f586a"),
    "_raise_event_internal": ("self, instance_id, event_name, event_data", "91d028725ad5"),
    "_schedule_delayed_entity_operation": ("self, entity_id, event, fire_at", "1a35ae670ccf"),
    "_signal_entity_internal": ("self, entity_id, operation, input_value, scheduled_time", "b79e46934424"),
    "_terminate_instance_internal": ("self, instance_id, output, recursive", "5023200025a9"),
    "_try_grant_lock": ("self, pending", "09aa5e19770f"),
    "_try_grant_pending_locks": ("self", "b86d21a56f0c"),
    "_wait_for_state": ("self, instance_id, predicate, timeout", "f9ff11501803"),
    "_watch_sub_orchestration": ("self, parent_instance_id, sub_instance_id, task_id", "26f598736b1c"),
    "reset": ("self", "7671b7a6322f"),
    "start": ("self", "194a18fc3c7b"),
    "stop": ("self, grace", "fdb3b2e2ceed"),
}
ATTRIBUTES = {
    "_activity_queue": "deque",
    "_entities": "dict",
    "_entity_in_flight": "set",
    "_entity_queue": "deque",
    "_entity_queue_set": "set",
    "_instances": "dict",
    "_lock": "RLock",
    "_next_completion_token": "int",
    "_orchestration_in_flight": "set",
    "_orchestration_queue": "deque",
    "_orchestration_queue_set": "set",
    "_pending_lock_requests": "list",
    "_port": "int",
    "_server": "NoneType",
    "_shutdown_event": "Event",
    "_state_waiters": "dict",
    "_work_available": "Event",
}
RECORDS = {
    "OrchestrationInstance": "instance_id name status version input output custom_status created_at last_updated_at completed_at"
                             " failure_details history pending_events dispatched_events completion_token tags",
    "ActivityWorkItem": "instance_id name task_id input completion_token version",
    "EntityState": "instance_id serialized_state last_modified_at locked_by pending_operations dispatched_operations completion_token",
    "PendingLockRequest": "critical_section_id parent_instance_id lock_set",
    "StateWaiter": "predicate event result",
}
BASE = memory.InMemoryOrchestrationBackend
ADVICE = (
    f"emulator/durable/ builds on private code of durabletask {VERSION}. Before another version is taken: read what changed in"
    " durabletask/testing/in_memory_backend.py, look at the override of the same name in emulator/durable/ (is it still called, with the"
    " same arguments, under the lock? does it copy code that changed?), run tests/unit/emulator/durable and `make crash`, and only then"
    " write the new values here."
)


def _plain(name: str) -> Any:
    found = inspect.getattr_static(BASE, name, None)
    return getattr(found, "__func__", found)


def test_durabletask_is_the_version_that_was_read() -> None:
    assert version("durabletask") == VERSION, ADVICE


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_method_is_as_it_was_read(name: str) -> None:
    method = _plain(name)
    assert method is not None, f"{name} is gone. {ADVICE}"
    parameters, text = METHODS[name]
    assert ", ".join(inspect.signature(method).parameters) == parameters, f"{name} is called in another way. {ADVICE}"
    assert hashlib.sha256(inspect.getsource(method).encode()).hexdigest()[:12] == text, f"{name} does something else. {ADVICE}"


def test_there_is_no_method_that_nobody_read() -> None:
    """A new one may change state without our noting it."""
    methods = {name for name in vars(BASE) if inspect.isfunction(_plain(name))}
    assert methods - METHODS.keys() == set(), ADVICE


def test_what_is_kept_is_as_it_was_read() -> None:
    backend = BASE()
    assert {name: type(getattr(backend, name, None)).__name__ for name in ATTRIBUTES} == ATTRIBUTES, ADVICE
    fields = {name: " ".join(field.name for field in dataclasses.fields(getattr(memory, name))) for name in RECORDS}
    assert fields == RECORDS, f"A field that is not in the journal is lost with the process. {ADVICE}"


@pytest.mark.parametrize("name", sorted(name for name in METHODS if name != "__init__"))
def test_an_override_can_be_called_as_theirs_is(name: str) -> None:
    theirs = list(inspect.signature(_plain(name)).parameters.values())
    ours = inspect.getattr_static(SqliteBackend, name)
    inspect.signature(getattr(ours, "__func__", ours)).bind(*theirs)
