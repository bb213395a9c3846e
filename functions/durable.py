"""The durable client as the `Orchestrator` port, and the intake that works with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import azure.durable_functions as df
import grpc

from pilotage.bootstrap import app
from pilotage.errors import PilotageError, Unavailable
from pilotage.intake import Intake


class DurableOrchestrator:
    """`Orchestrator` over the client that a durable-client binding gives."""

    def __init__(self, client: df.SyncDurableFunctionsClient) -> None:
        self._client = client

    def state(self, instance_id: str) -> str | None:
        with _durable_errors(f"read the state of {instance_id}"):
            found = self._client.get_orchestration_state(instance_id, fetch_payloads=False)
        return found.runtime_status.name if found else None

    def start(self, orchestration: str, instance_id: str, message: dict[str, Any]) -> None:
        with _durable_errors(f"start {instance_id}", grpc.StatusCode.ALREADY_EXISTS):
            self._client.schedule_new_orchestration(orchestration, input=message, instance_id=instance_id)

    def raise_event(self, instance_id: str, event: str, data: dict[str, Any]) -> None:
        # An event to an instance that is not there tells nobody: hosts differ on whether that is an error.
        with _durable_errors(f"raise {event} to {instance_id}", grpc.StatusCode.NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION):
            self._client.raise_orchestration_event(instance_id, event, data=data)


def intake(client: df.SyncDurableFunctionsClient) -> Intake:
    """The process's app, starting instances through this client."""
    this = app()
    return Intake(this.policies, this.ledger, this.clock, DurableOrchestrator(client),
                  lambda workspace: this.settings.workspace(workspace).arm_id)


@contextmanager
def _durable_errors(what: str, *fine: grpc.StatusCode) -> Iterator[None]:
    try:
        yield
    except PilotageError:
        raise
    except grpc.RpcError as error:
        code = error.code() if isinstance(error, grpc.Call) else None
        if code not in fine:
            raise Unavailable(f"could not {what}: the durable backend says {code.name if code else type(error).__name__}") from error
