"""Indexing and invoking an app's functions: Microsoft's worker code, in this process. One app a process."""

from __future__ import annotations

import json
import os
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from emulator.context import EmulatorError
from emulator.functions_host import protos

THREADS = "16"
"""Orchestrators and sync activities share the worker's thread pool; its default is too small for both."""


class AppDoesNotLoad(EmulatorError):
    """The app can't be indexed; the traceback follows."""


class InvocationFailed(EmulatorError):
    """A function raised; `kind`, `text` and `stack` are the app's own."""

    def __init__(self, exception: Any) -> None:
        super().__init__(exception.message)
        self.kind, _, self.text = exception.message.partition(": ")
        self.stack = exception.stack_trace


@dataclass(frozen=True, slots=True)
class Function:
    """One function as the worker indexed it."""

    name: str
    id: str
    bindings: list[dict[str, Any]]

    @property
    def trigger(self) -> dict[str, Any]:
        return next(binding for binding in self.bindings if binding["type"].lower().endswith("trigger"))

    @property
    def durable_clients(self) -> list[str]:
        """Names of the parameters that want a durable client."""
        return [binding["name"] for binding in self.bindings if binding["type"] == "durableClient"]


class AppRuntime:
    """`functions` maps names to functions once `load` has returned."""

    def __init__(self, app: Path) -> None:
        self.app = app
        path = app / "host.json"
        if not path.exists():
            raise AppDoesNotLoad(f"{path} does not exist: this is not the folder of a Functions app")
        self.host: dict[str, Any] = json.loads(path.read_text())
        settings = app / "local.settings.json"
        if settings.exists():
            # As Core Tools does: the environment wins over the file.
            for name, value in json.loads(settings.read_text()).get("Values", {}).items():
                os.environ.setdefault(name, str(value))
        self.functions: dict[str, Function] = {}

    def extension(self, name: str) -> dict[str, Any]:
        """The part of host.json that configures an extension."""
        return dict(self.host.get("extensions", {}).get(name, {}))

    async def load(self) -> None:
        """Start the worker and index the app; raises AppDoesNotLoad with the app's traceback."""
        os.environ.setdefault("PYTHON_THREADPOOL_THREAD_COUNT", THREADS)
        sys.path.insert(0, str(self.app))
        import azure_functions_runtime as worker

        self._worker = worker
        worker.start_threadpool_executor()
        started = await worker.worker_init_request(_request(worker_init_request=SimpleNamespace(
            capabilities={}, function_app_directory=str(self.app), host_version="4.0.0", worker_directory="")))
        _check(started)
        indexed = await worker.functions_metadata_request(_request(functions_metadata_request=SimpleNamespace(
            function_app_directory=str(self.app))))
        _check(indexed)
        for metadata in indexed.function_metadata_results or []:
            _check(await worker.function_load_request(_request(function_load_request=SimpleNamespace(
                function_id=metadata.function_id, metadata=metadata))))
            self.functions[metadata.name] = Function(metadata.name, metadata.function_id, [json.loads(b) for b in metadata.raw_bindings])

    def of_type(self, trigger: str) -> list[Function]:
        return [function for function in self.functions.values() if function.trigger["type"] == trigger]

    async def invoke(self, function: Function, inputs: dict[str, protos.TypedData], metadata: dict[str, protos.TypedData] | None = None,
                     trace_parent: str = "") -> Any:
        """The worker's InvocationResponse; raises InvocationFailed."""
        invocation = SimpleNamespace(
            invocation_id=str(uuid.uuid4()), function_id=function.id,
            input_data=[protos.ParameterBinding(name=name, data=value) for name, value in inputs.items()],
            trigger_metadata=metadata or {}, trace_context=SimpleNamespace(trace_parent=trace_parent, trace_state="", attributes={}),
            retry_context=SimpleNamespace(retry_count=0, max_retry_count=0, exception=None))
        answer = await self._worker.invocation_request(_request(invocation_request=invocation))
        if answer.result.status != protos.StatusResult.Success:
            raise InvocationFailed(answer.result.exception)
        return answer

    def stop(self) -> None:
        self._worker.stop_threadpool_executor()


def _request(**content: Any) -> SimpleNamespace:
    return SimpleNamespace(request=SimpleNamespace(**content), properties={"host": "127.0.0.1", "protos": protos})


def _check(answer: Any) -> None:
    if answer.result is not None and answer.result.status != protos.StatusResult.Success:
        raise AppDoesNotLoad(f"{answer.result.exception.message}\n{answer.result.exception.stack_trace}")
