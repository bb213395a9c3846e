"""Our backend with durabletask's own worker and client over gRPC, which can be stopped and taken up again from its file."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from durabletask.client import OrchestrationState, OrchestrationStatus, TaskHubGrpcClient
from durabletask.grpc_options import GrpcChannelOptions
from durabletask.worker import TaskHubGrpcWorker

from emulator.durable import SqliteBackend
from emulator.durable.virtual_time import OffsetClock
from tests.support.platform import wait_for

NO_LIMIT = GrpcChannelOptions(max_receive_message_length=-1, max_send_message_length=-1)
"""As the Functions host tells its clients: gRPC's own limit is 4 MB a message."""


class TaskHub:
    def __init__(self, path: Path | None, register: Callable[[TaskHubGrpcWorker], None], clock: OffsetClock | None = None) -> None:
        self._path, self._register, self.clock = path, register, clock or OffsetClock()
        self.take_up()

    def take_up(self, worker: bool = True) -> None:
        self.backend = SqliteBackend(self._path, self.clock)
        self._address = self.backend.start()
        self.client = TaskHubGrpcClient(host_address=self._address, channel_options=NO_LIMIT)
        self._worker: TaskHubGrpcWorker | None = None
        if worker:
            self.serve()

    def serve(self) -> None:
        """A worker connects."""
        self._worker = TaskHubGrpcWorker(host_address=self._address, channel_options=NO_LIMIT, log_handler=logging.NullHandler())
        self._register(self._worker)
        self._worker.start()

    def leave(self) -> None:
        self.client.close()
        self.backend.stop(0)
        if self._worker is not None:
            # It looks for its end once a second: nobody has to wait for that.
            threading.Thread(target=self._worker.stop, daemon=True).start()

    def restart(self, worker: bool = True) -> None:
        self.leave()
        self.take_up(worker)

    def advance(self, seconds: float) -> None:
        self.backend.set_offset(self.clock.offset_seconds + seconds)

    def ended(self, instance: str) -> OrchestrationState:
        state = self.client.wait_for_orchestration_completion(instance, timeout=30)
        assert state is not None
        return state

    def output(self, instance: str) -> Any:
        state = self.ended(instance)
        assert state.runtime_status is OrchestrationStatus.COMPLETED, state.failure_details or state.runtime_status
        return state.get_output()

    def becomes(self, instance: str, status: OrchestrationStatus) -> None:
        def look() -> bool | None:
            state = self.client.get_orchestration_state(instance)
            return True if state is not None and state.runtime_status is status else None

        wait_for(f"{instance} to be {status.name}", look)

    def history(self, instance: str) -> list[Any]:
        return list(self.client.get_orchestration_history(instance))
