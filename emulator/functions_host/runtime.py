"""Indexing and invoking an app's functions: Microsoft's worker code, in this process. One app a process."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import uuid
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from emulator.context import EmulatorError
from emulator.functions_host import protos
from emulator.functions_host.settings import InvalidSettings, host_json, local_settings, time_span

log = logging.getLogger("emulator.runtime")
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


class FunctionTimeout(InvocationFailed):
    """host.json's functionTimeout has passed. A synchronous function's thread goes on: Python can't end it."""

    def __init__(self, limit: object, name: str, invocation_id: str) -> None:
        super().__init__(SimpleNamespace(
            message=f"FunctionTimeoutException: Timeout value of {limit} exceeded by function: {name} (Id: '{invocation_id}')",
            stack_trace=""))


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
        local_settings(app / "local.settings.json", os.environ)
        self.host = host_json(app / "host.json", os.environ)
        self.functions: dict[str, Function] = {}
        self._timeout = _timeout(self.host)

    def extension(self, name: str) -> dict[str, Any]:
        """The part of host.json that configures an extension."""
        return dict(self.host.get("extensions", {}).get(name) or {})

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
        """Functions with a trigger, without the disabled ones."""
        return [function for function in self.functions.values() if function.trigger["type"] == trigger and not self.is_disabled(function)]

    def find(self, name: str) -> Function | None:
        """By name in any case; a disabled function is not found."""
        found = next((function for function in self.functions.values() if function.name.lower() == name.lower()), None)
        return None if found is None or self.is_disabled(found) else found

    def is_disabled(self, function: Function) -> bool:
        """The app setting `AzureWebJobs.NAME.Disabled` (with underscores on Linux) is true or 1 (functions: disable-function)."""
        for name in (f"AzureWebJobs.{function.name}.Disabled", f"AzureWebJobs_{function.name}_Disabled"):
            if os.environ.get(name, "").strip().lower() in ("true", "1"):
                return True
        return False

    def report(self, function: Function, failed: InvocationFailed) -> None:
        """Log a failure that nobody waits for."""
        log.error("%s failed: %s\n%s", function.name, failed, failed.stack)

    async def invoke(self, function: Function, inputs: dict[str, protos.TypedData], metadata: dict[str, protos.TypedData] | None = None,
                     trace_parent: str = "") -> Any:
        """The worker's InvocationResponse; raises InvocationFailed."""
        invocation = SimpleNamespace(
            invocation_id=str(uuid.uuid4()), function_id=function.id,
            input_data=[protos.ParameterBinding(name=name, data=value) for name, value in inputs.items()],
            trigger_metadata=metadata or {}, trace_context=SimpleNamespace(trace_parent=trace_parent, trace_state="", attributes={}),
            retry_context=SimpleNamespace(retry_count=0, max_retry_count=0, exception=None))
        try:
            async with asyncio.timeout(self._timeout):
                answer = await self._worker.invocation_request(_request(invocation_request=invocation))
        except TimeoutError:
            raise FunctionTimeout(self.host.get("functionTimeout", "00:30:00"), function.name, invocation.invocation_id) from None
        if answer.result.status != protos.StatusResult.Success:
            raise InvocationFailed(answer.result.exception)
        return answer

    def stop(self) -> None:
        self._worker.stop_threadpool_executor()


def _timeout(host: dict[str, Any]) -> float | None:
    """functionTimeout in seconds; -1 is none, and the default is 30 minutes (functions-scale). Raises InvalidSettings."""
    text = host.get("functionTimeout", "00:30:00")
    if text in (-1, "-1"):
        return None
    span = time_span(text) if isinstance(text, str) else None
    if span is None or span <= timedelta():
        raise InvalidSettings(f"host.json: 'functionTimeout' must be a time span or -1, it is {text!r}")
    return span.total_seconds()


def _request(**content: Any) -> SimpleNamespace:
    return SimpleNamespace(request=SimpleNamespace(**content), properties={"host": "127.0.0.1", "protos": protos})


def _check(answer: Any) -> None:
    if answer.result is not None and answer.result.status != protos.StatusResult.Success:
        raise AppDoesNotLoad(f"{answer.result.exception.message}\n{answer.result.exception.stack_trace}")
