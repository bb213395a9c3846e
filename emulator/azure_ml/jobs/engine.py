"""Runs jobs: commands as processes, pipelines step by step, and goes on with both after a restart.

A run that was cut off by the end of the platform is taken up where it was: steps that had ended keep
their result, a command that was running is run again from its start. A command should therefore bear to
be run twice, as on a preemptible node in Azure.
"""

from __future__ import annotations

import asyncio
import logging
import os
import uuid
from typing import TYPE_CHECKING, Any

from emulator.azure_ml.errors import AzureMlError
from emulator.azure_ml.jobs import expressions, image, processes
from emulator.azure_ml.jobs.bindings import bound_inputs, merged_outputs, order, ready
from emulator.azure_ml.jobs.data import Data
from emulator.azure_ml.jobs.failures import RunFailed, RunTimedOut
from emulator.azure_ml.jobs.logs import COMMAND_LOG, Logs
from emulator.azure_ml.jobs.outputs import register
from emulator.azure_ml.jobs.runs import Run, Runs
from emulator.azure_ml.jobs.tokens import RunTokens

if TYPE_CHECKING:
    from emulator.azure_ml.service import AzureMl

logger = logging.getLogger(__name__)

Json = dict[str, Any]
_AT_ONCE = 4
"""Commands that run side by side at least, however small the machine: steps may wait for each other through files."""
_CHILDREN = uuid.UUID("3b0f1c5c-58b7-4d0f-9d0e-2f6a4c1f6b55")


class Engine:
    """One task for each root run."""

    def __init__(self, azure_ml: AzureMl, runs: Runs, logs: Logs, tokens: RunTokens) -> None:
        self._azure_ml = azure_ml
        self._tokens = tokens
        self._runs = runs
        self._logs = logs
        self._data = Data(azure_ml.locations, azure_ml.scopes, azure_ml.context.storage)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._processes = asyncio.Semaphore(max(_AT_ONCE, os.cpu_count() or 1))
        self._stopping = False

    async def start(self) -> None:
        """Take up what an earlier platform left unfinished."""
        for run in self._runs.unfinished():
            logger.info("going on with job %s (%s)", run.name, run.status)
            self.begin(run)

    async def stop(self) -> None:
        """End every process; the runs stay as they are, for the next start."""
        self._stopping = True
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def begin(self, run: Run) -> None:
        """Run a root run in the background; one that is already running goes on."""
        key = run.id.lower()
        if key not in self._tasks:
            task = asyncio.create_task(self._root(run), name=f"job {run.name}")
            self._tasks[key] = task
            task.add_done_callback(lambda _: self._tasks.pop(key, None))

    async def cancel(self, run: Run) -> None:
        """Return once the run and all below it have ended; durable, so that a restart cancels too."""
        if run.terminal:
            return
        self._runs.change(run, _request_cancel)
        self._runs.set_status(run, self._scope(run), "CancelRequested")
        task = self._tasks.get(run.id.lower())
        if task is None:
            self._cancelled(run)  # left over from an earlier platform: start() has not come to it
            return
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if not self._stopping:
            self._cancelled(run)  # a task that is cancelled before its first step takes none, not even that of its end

    async def _root(self, run: Run) -> None:
        try:
            if self._runs.get(run.scope_id, run.name).cancel_requested:
                raise asyncio.CancelledError
            await self._run(run, run.spec["values"])
        except RunFailed:
            pass  # recorded on the run
        except asyncio.CancelledError:
            if not self._stopping:
                self._cancelled(run)
        except Exception as problem:
            logger.exception("job %s broke", run.name)
            self._runs.set_status(run, self._scope(run), "Failed", _broken(problem))

    async def _run(self, run: Run, values: Json) -> dict[str, Json]:
        """Execute a run of either kind and record how it ended; returns its outputs. Raises `RunFailed`."""
        scope = self._scope(run)
        current = self._runs.get(run.scope_id, run.name)
        if current.status == "Completed":
            return current.outputs
        if current.terminal:  # ended before a restart that comes between a step's end and its pipeline's
            raise RunFailed(**(current.error or {"code": "Canceled", "message": f"{current.name} was canceled."}))
        try:
            outputs = await self._executed(current, values)
        except RunFailed as failure:
            self._runs.set_status(current, scope, "Canceled" if isinstance(failure, RunTimedOut) else "Failed", failure.error)
            raise
        self._runs.set_status(current, scope, "Completed")
        return outputs

    async def _executed(self, run: Run, values: Json) -> dict[str, Json]:
        """What a run writes. Its logs are stored however it ends, before anybody sees that; raises `RunFailed` for all that goes wrong."""
        try:
            return await (self._pipeline(run, values) if run.kind == "pipeline" else self._command(run, values))
        except AzureMlError as refusal:
            raise RunFailed(refusal.code, refusal.message) from refusal
        except RunFailed:
            raise
        except Exception as problem:
            logger.exception("run %s broke", run.name)
            raise RunFailed(**_broken(problem)) from problem
        finally:
            if not self._stopping:
                await asyncio.shield(asyncio.to_thread(self._store_logs, run))

    def _store_logs(self, run: Run) -> None:
        """A log that can't be stored stays here, where `details` finds it, and does not change how the run ends."""
        try:
            self._data.store_logs(run.name, self._scope(run), self._logs.folder(run))
        except Exception:
            logger.exception("the logs of run %s could not be stored", run.name)

    async def _command(self, run: Run, values: Json) -> dict[str, Json]:
        spec, scope, folder = run.spec, self._scope(run), self._logs.folder(run)
        if run.attempts:
            processes.end_leftovers(folder.home)
        async with self._processes:
            run = self._runs.set_status(run, scope, "Starting")
            await asyncio.to_thread(folder.prepare)
            await asyncio.to_thread(self._data.fetch_code, spec["code"], folder)
            inputs = {}
            for name, value in values.items():
                mode = value.get("mode") or spec["inputs"][name].get("mode")
                inputs[name] = await asyncio.to_thread(self._data.fetch_input, name, value, mode, scope, folder)
            outputs = {name: self._data.output_path(name, definition, folder) for name, definition in spec["outputs"].items()}
            variables = {
                **spec["environment_variables"],
                **{f"AZURE_ML_INPUT_{name}": text for name, text in inputs.items()},
                **{f"AZURE_ML_OUTPUT_{name}": text for name, text in outputs.items()},
                **image.environment(self._azure_ml.context, run, scope, folder.home, self._tokens.issue(run)),
            }
            command = expressions.render(spec["command"], inputs, outputs)
            run = self._runs.change(run, _count_attempt)
            run = self._runs.set_status(run, scope, "Running")
            try:
                code = await processes.run(command, folder.code, variables, self._logs.file(run, COMMAND_LOG), spec["timeout"])
            except processes.TimedOut:
                raise RunTimedOut("JobTimeout", f"The job ran longer than its limit of {spec['timeout']:g} seconds.") from None
            if code != 0:
                raise RunFailed(
                    "UserError",
                    f"Execution failed. User process '{command.split()[0]}' exited with status code {code}. "
                    f"Please check log file '{COMMAND_LOG}' for error details. Error: {self._logs.tail(run)}",
                )
            written = {}
            for name, definition in spec["outputs"].items():
                written[name] = await asyncio.to_thread(self._data.store_output, name, definition, run.name, scope, folder)
                if definition.get("asset"):
                    await register(self._azure_ml, scope, run, definition["asset"], written[name])
            self._runs.change(run, lambda current: current.outputs.update(written))
            await asyncio.to_thread(folder.discard)
        return written

    async def _pipeline(self, run: Run, values: Json) -> dict[str, Json]:
        scope, steps = self._scope(run), run.spec["steps"]
        run = self._runs.set_status(run, scope, "Running")
        self._note(run, f"Running {len(steps)} steps: {', '.join(order(steps))}")
        done: dict[str, dict[str, Json]] = {}
        failed: dict[str, RunFailed] = {}
        running: dict[asyncio.Task[dict[str, Json]], str] = {}
        try:
            while True:
                if not failed or run.spec["continue_on_failure"]:
                    for name in ready(steps, done, failed, set(running.values())):
                        running[asyncio.create_task(self._step(run, name, values, done), name=f"{run.name}/{name}")] = name
                if not running:
                    break
                ended, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in ended:
                    name = running.pop(task)
                    problem = task.exception()
                    if problem is None:
                        done[name] = task.result()
                        self._note(run, f"{name} completed")
                    elif isinstance(problem, RunFailed):
                        failed[name] = problem
                        self._note(run, f"{name} failed: {problem.message}")
                    else:
                        raise problem
                if failed and not run.spec["continue_on_failure"]:
                    break
        finally:
            await self._abandon(run, running)
        if failed:
            name, failure = next(iter(failed.items()))
            raise RunFailed(failure.code, f"Step {name} failed. {failure.message}")
        outputs = {
            options["parent"]: done[name][output]
            for name, step in steps.items()
            for output, options in step["outputs"].items()
            if options.get("parent") and output in done[name]
        }
        self._runs.change(run, lambda current: current.outputs.update(outputs))
        return outputs

    async def _step(self, parent: Run, name: str, values: Json, done: dict[str, dict[str, Json]]) -> dict[str, Json]:
        step = parent.spec["steps"][name]
        spec = {**step["spec"], "outputs": merged_outputs(parent.spec, step)}
        child = self._runs.add(
            Run(
                scope_id=parent.scope_id,
                # The same name again after a restart, so that a step is never there twice.
                name=str(uuid.uuid5(_CHILDREN, f"{parent.id}/{name}".lower())),
                kind=spec["kind"],
                spec=spec,
                created_by=parent.created_by,
                created=self._runs.now(),
                experiment=parent.experiment,
                display_name=name,
                parent=parent.name,
                root=parent.root,
                step=name,
                properties={"azureml.moduleName": name, "azureml.parentRunId": parent.name},
            ),
            self._scope(parent),
        )
        try:
            inputs = bound_inputs(name, step, values, done)
        except AzureMlError as refusal:
            failure = RunFailed(refusal.code, refusal.message)
            self._runs.set_status(child, self._scope(child), "Failed", failure.error)
            raise failure from refusal
        return await self._run(child, inputs)

    async def _abandon(self, run: Run, running: dict[asyncio.Task[dict[str, Json]], str]) -> None:
        """End the steps that still run, because another failed or the pipeline is being cancelled."""
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        if running and not self._stopping:
            for child in self._runs.children(run):
                if child.step in running.values():
                    self._cancelled(child)

    def _cancelled(self, run: Run) -> None:
        for child in self._runs.children(run):
            if not child.terminal:
                self._cancelled(child)
        self._runs.set_status(run, self._scope(run), "Canceled")

    def _note(self, run: Run, line: str) -> None:
        self._logs.add(run, line, self._runs.now())

    def _scope(self, run: Run) -> Any:
        return self._azure_ml.scopes.of_id(run.scope_id)


def _broken(problem: Exception) -> dict[str, str]:
    return {"code": "ServiceError", "message": f"{type(problem).__name__}: {problem}"}


def _request_cancel(run: Run) -> None:
    run.cancel_requested = True


def _count_attempt(run: Run) -> None:
    run.attempts += 1
