"""Scores files as a batch deployment does; run by the job's process with this image's Python.

It imports nothing of ours. Settings come as JSON in `BATCH_SETTINGS`, the folders of the job in the variables that
every job has: `AZURE_ML_INPUT_data` (a file or folder), `AZURE_ML_INPUT_model`, `AZURE_ML_OUTPUT_score`.

The files are cut into mini-batches of `mini_batch_size` files. Worker processes load the scoring script, call `init()`
once and `run(mini_batch)` for each mini-batch, with a list of paths. A mini-batch that raises, or takes longer than
`timeout` seconds (then its worker is replaced), is tried again `max_retries` times and then counts as failed with all its
files; files for which `run` returned no element count as failed too. More failed files than `error_threshold` (-1: any number) end
the job. What `run` returns, a list or a data frame, is appended row by row, without column names, to `output_file_name`,
in the order of the mini-batches (learn.microsoft.com/azure/machine-learning/how-to-batch-scoring-script).
"""

from __future__ import annotations

import contextlib
import csv
import importlib.util
import json
import multiprocessing
import os
import shutil
import sys
import time
import traceback
from collections import deque
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

INIT_SECONDS = 600.0
"""How long `init()` may take."""
LONGEST_WAIT = 3600.0
"""Seconds: the system takes no waits of weeks."""
FIRST_FAILURES = 20
"""Failed mini-batches whose traceback is printed."""


def main() -> int:
    settings = json.loads(os.environ["BATCH_SETTINGS"])
    output = Path(os.environ["AZURE_ML_OUTPUT_score"])  # noqa: SIM112 - the job names it after its output
    output.mkdir(parents=True, exist_ok=True)
    os.environ["AZUREML_BI_OUTPUT_PATH"] = str(output)
    give_model(settings)
    root, files = listed(Path(os.environ["AZURE_ML_INPUT_data"]))  # noqa: SIM112
    size = settings["mini_batch_size"]
    batches = [files[start : start + size] for start in range(0, len(files), size)]
    print(f"Scoring {len(files)} files of {root} in {len(batches)} mini-batches of at most {size}", flush=True)
    if not files:
        print("There are no files to score.", flush=True)
        return 1
    scoring = Scoring(settings, batches, output)
    return scoring.run()


def give_model(settings: dict[str, Any]) -> None:
    """Put the model where `AZUREML_MODEL_DIR` says, below its own name, as it is mounted in Azure."""
    given = os.environ.pop("AZURE_ML_INPUT_model", None)
    if not given:
        return
    home = Path(os.environ["HOME"]) / "azureml-models"
    home.mkdir(parents=True)
    # Moved, because MLflow follows no link out of the folder that it is given. An attempt after a crash fetches it anew.
    shutil.move(given, home / (settings.get("model_name") or Path(given).name))
    os.environ["AZUREML_MODEL_DIR"] = str(home)


def listed(data: Path) -> tuple[Path, list[str]]:
    """The files below a folder in the order of their paths, or the one file."""
    if data.is_file():
        return data.parent, [str(data)]
    return data, [str(path) for path in sorted(data.rglob("*")) if path.is_file()]


class Worker:
    """A process with the script loaded, and the mini-batch it works on."""

    def __init__(self, script: str) -> None:
        mine, theirs = multiprocessing.Pipe()
        self.pipe: Connection = mine
        self.process = multiprocessing.Process(target=work, args=(theirs, script), daemon=True)
        self.process.start()
        theirs.close()
        self.ready = False
        self.job: tuple[int, int] | None = None
        """Number of the mini-batch and of the attempt."""
        self.deadline = time.monotonic() + INIT_SECONDS

    def begin(self, number: int, attempt: int, files: list[str], seconds: float) -> None:
        self.job, self.deadline = (number, attempt), time.monotonic() + seconds
        with contextlib.suppress(OSError):  # it died while it was idle: its pipe's end says so when it is listened to
            self.pipe.send(files)

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


class InitFailed(Exception):
    """The script can't be loaded, or its `init()` raised: no mini-batch could ever succeed."""


class Scoring:
    def __init__(self, settings: dict[str, Any], batches: list[list[str]], output: Path) -> None:
        self._settings = settings
        self._batches = batches
        self._output = output
        self._script = settings["script"]
        self._waiting: deque[tuple[int, int]] = deque((number, 0) for number in range(len(batches)))
        self._rows: dict[int, list[Any]] = {}
        self._written = 0
        """Mini-batches that are in the output, or failed: they are written in order."""
        self._failed_files = self._failed_batches = 0

    def run(self) -> int:
        append = self._settings["output_action"] == "append_row"
        path = self._output / self._settings["output_file_name"]
        workers: list[Worker] = []
        try:
            target = path.open("w", newline="", encoding="utf-8") if append else None
            try:
                self._loop(workers, csv.writer(target) if target is not None else None)
            finally:
                if target is not None:
                    target.close()
        except InitFailed as failure:
            print(f"init() failed: {failure}", flush=True)
            return 1
        except TooManyErrors as failure:
            print(str(failure), flush=True)
            return 1
        finally:
            for worker in workers:
                worker.end()
        done = len(self._batches) - self._failed_batches
        print(f"{done} of {len(self._batches)} mini-batches succeeded, {self._failed_files} files failed", flush=True)
        return 0

    def _loop(self, workers: list[Worker], writer: Any) -> None:
        most = max(1, min(self._settings["workers"], len(self._batches)))
        while self._written < len(self._batches):
            idle = [worker for worker in workers if worker.ready and worker.job is None]
            while self._waiting and idle:
                number, attempt = self._waiting.popleft()
                idle.pop().begin(number, attempt, self._batches[number], self._settings["timeout"])
            starting = sum(not worker.ready for worker in workers)
            wanted = min(most - len(workers), len(self._waiting) - starting)
            workers += [Worker(self._script) for _ in range(wanted)]
            busy = [worker for worker in workers if worker.job is not None or not worker.ready]
            patience = min(LONGEST_WAIT, max(0.0, min(worker.deadline for worker in busy) - time.monotonic()))
            answered = wait([worker.pipe for worker in busy], patience)
            for worker in busy:
                if worker.pipe in answered:
                    self._hear(worker, workers)
                elif time.monotonic() >= worker.deadline:
                    workers.remove(worker)
                    worker.end()
                    if worker.job is None:
                        raise InitFailed(f"it took longer than {INIT_SECONDS:g} seconds")
                    self._attempt_failed(worker.job, f"run() took longer than {self._settings['timeout']:g} seconds")
            self._write(writer)

    def _hear(self, worker: Worker, workers: list[Worker]) -> None:
        job = worker.job
        try:
            kind, content = worker.pipe.recv()
        except (EOFError, OSError):
            workers.remove(worker)
            worker.end()
            kind, content = "error", f"the worker process ended with {worker.process.exitcode}"
        worker.job = None
        if job is None:
            if kind == "error":
                raise InitFailed(content)
            worker.ready = True
        elif kind == "error":
            self._attempt_failed(job, content)
        else:
            rows, elements = content
            missing = max(0, len(self._batches[job[0]]) - elements)
            if missing:
                print(f"Mini-batch {job[0]}: run() returned {elements} elements for {len(self._batches[job[0]])} files", flush=True)
            self._rows[job[0]] = rows
            self._count(missing)

    def _attempt_failed(self, job: tuple[int, int], problem: str) -> None:
        number, attempt = job
        if self._failed_batches < FIRST_FAILURES:
            print(f"Mini-batch {number}, attempt {attempt + 1}, failed: {problem}", flush=True)
        if attempt < self._settings["max_retries"]:
            self._waiting.appendleft((number, attempt + 1))
            return
        self._rows[number] = []
        self._failed_batches += 1
        self._count(len(self._batches[number]))

    def _count(self, failures: int) -> None:
        self._failed_files += failures
        threshold = self._settings["error_threshold"]
        if 0 <= threshold < self._failed_files:
            raise TooManyErrors(
                f"The run is aborted: {self._failed_files} files failed, which is more than the error threshold of {threshold}."
            )

    def _write(self, writer: Any) -> None:
        while self._written in self._rows:
            rows = self._rows.pop(self._written)
            self._written += 1
            if writer is not None:
                writer.writerows(rows)


class TooManyErrors(Exception):
    """More files failed than `error_threshold` allows."""


def work(pipe: Connection, script: str) -> None:
    """A worker's life: load, say so, then one answer for each mini-batch."""
    try:
        module = load(script)
        if hasattr(module, "init"):
            module.init()
    except BaseException:
        pipe.send(("error", traceback.format_exc()))
        return
    pipe.send(("ready", None))
    while True:
        try:
            files = pipe.recv()
        except EOFError:
            return
        try:
            answer = ("rows", rows_of(module.run(files), len(files)))
        except BaseException:
            answer = ("error", traceback.format_exc())
        sys.stdout.flush()
        pipe.send(answer)


def load(script: str) -> Any:
    path = Path(script).resolve()
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location("batch_scoring_script", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python script")
    module = importlib.util.module_from_spec(spec)
    sys.modules["batch_scoring_script"] = module
    spec.loader.exec_module(module)
    if not callable(getattr(module, "run", None)):
        raise AttributeError(f"{path.name} has no function run(mini_batch)")
    return module


def rows_of(result: Any, files: int) -> tuple[list[list[Any]], int]:
    """What `run` returned as rows of texts, and how many elements it has."""
    if hasattr(result, "itertuples"):
        rows = [[plain(value) for value in row] for row in result.itertuples(index=False, name=None)]
    elif isinstance(result, str | bytes) or not hasattr(result, "__iter__"):
        raise TypeError(f"run() must return a list or a pandas DataFrame, not {type(result).__name__}")
    else:
        rows = [[plain(value)] for value in result]
    return rows, len(rows)


def plain(value: Any) -> str:
    """One cell: numbers and texts as they are, anything with parts as JSON where it has such a form."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | dict | tuple):
        return json.dumps(value, default=str)
    return str(value)


if __name__ == "__main__":
    sys.exit(main())
