"""The program that scores a batch job's files, run as the job runs it: mini-batches, retries, time limits, thresholds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DRIVER = Path(__file__).parents[4] / "emulator" / "images" / "inference" / "batch_driver.py"
SETTINGS: dict[str, Any] = {
    "script": "score.py", "model_name": None, "mini_batch_size": 2, "error_threshold": -1, "max_retries": 0, "timeout": 30.0,
    "output_action": "append_row", "output_file_name": "predictions.csv", "workers": 2,
}  # fmt: skip
NAMES = "def run(mini_batch):\n    return [path[-1] for path in mini_batch]\n"


class Bench:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("code", "in", "home"):
            (folder / name).mkdir()

    def files(self, *names: str) -> None:
        for name in names:
            path = self.folder / "in" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"text of {name}")

    def run(self, script: str, **settings: Any) -> tuple[int, str]:
        """The exit code, and what was printed."""
        (self.folder / "code" / "score.py").write_text(script)
        variables = {
            "PATH": os.environ["PATH"], "HOME": str(self.folder / "home"), "BATCH_SETTINGS": json.dumps(SETTINGS | settings),
            "AZURE_ML_INPUT_data": str(self.folder / "in"), "AZURE_ML_OUTPUT_score": str(self.folder / "out"),
            "TRACES": str(self.folder / "traces"),
        }  # fmt: skip
        if (self.folder / "model").exists():
            variables["AZURE_ML_INPUT_model"] = str(self.folder / "model")
        done = subprocess.run([sys.executable, "-P", str(DRIVER)], cwd=self.folder / "code", env=variables, timeout=60, check=False,
                              capture_output=True, text=True)  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    @property
    def predictions(self) -> list[str]:
        return (self.folder / "out" / "predictions.csv").read_text().splitlines()

    @property
    def traces(self) -> list[str]:
        path = self.folder / "traces"
        return path.read_text().split() if path.exists() else []


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_files_in_order_whatever_the_workers_do(bench: Bench) -> None:
    bench.files("c", "a", "b/x", "e", "d")
    slow_start = (
        "import time\ndef run(mini_batch):\n    time.sleep(0.2 if mini_batch[0].endswith('a') else 0)\n"
        "    return [p[-1] for p in mini_batch]\n"
    )
    code, log = bench.run(slow_start)
    assert (code, bench.predictions) == (0, ["a", "x", "c", "d", "e"]), log
    assert "3 mini-batches" in log


def test_rows_of_lists_and_data_frames(bench: Bench) -> None:
    bench.files("a", "b")
    frame = (
        "class Frame:\n"
        "    def itertuples(self, index, name):\n        return iter([(1, 'one, two', [1, 2])])\n"
        "def run(mini_batch):\n    return Frame()\n"
    )
    code, log = bench.run(frame, mini_batch_size=1)
    assert (code, bench.predictions) == (0, ['1,"one, two","[1, 2]"'] * 2), log


def test_the_model_is_below_its_own_name(bench: Bench) -> None:
    bench.files("a")
    (bench.folder / "model").mkdir()
    (bench.folder / "model" / "weights").write_text("w")
    script = (
        "import os\ndef init():\n    global found\n"
        "    found = os.listdir(os.path.join(os.environ['AZUREML_MODEL_DIR'], 'mine'))\n"
        "def run(mini_batch):\n    return found\n"
    )
    code, log = bench.run(script, model_name="mine")
    assert (code, bench.predictions) == (0, ["weights"]), log


def test_a_mini_batch_is_tried_again(bench: Bench) -> None:
    bench.files("a")
    script = (
        "import os\ndef run(mini_batch):\n    with open(os.environ['TRACES'], 'a') as traces:\n        traces.write('tried ')\n"
        "    if len(open(os.environ['TRACES']).read().split()) < 3:\n        raise ValueError('not yet')\n    return ['done']\n"
    )
    code, log = bench.run(script, max_retries=3, error_threshold=0)
    assert (code, bench.predictions, len(bench.traces)) == (0, ["done"], 3), log
    assert "attempt 2, failed" in log


@pytest.mark.parametrize("threshold", [-1, 2, 1])
def test_failed_files_count_against_the_threshold(bench: Bench, threshold: int) -> None:
    bench.files("a", "b", "c", "d")
    script = (
        "def run(mini_batch):\n    if mini_batch[0].endswith('a'):\n        raise ValueError('bad')\n"
        "    return [p[-1] for p in mini_batch]\n"
    )
    code, log = bench.run(script, error_threshold=threshold)
    if threshold == 1:
        assert (code, "more than the error threshold of 1" in log) == (1, True), log
    else:
        assert (code, bench.predictions) == (0, ["c", "d"]), log
        assert "2 files failed" in log


def test_files_without_an_element_count_as_failed(bench: Bench) -> None:
    bench.files("a", "b")
    assert bench.run("def run(mini_batch):\n    return ['only one']\n")[0] == 0
    code, log = bench.run("def run(mini_batch):\n    return ['only one']\n", error_threshold=0)
    assert (code, "1 files failed" in log) == (1, True), log


@pytest.mark.parametrize("end", ["time.sleep(600)", "os._exit(7)"])
def test_a_mini_batch_that_hangs_or_kills_its_worker(bench: Bench, end: str) -> None:
    bench.files("a", "b", "c")
    script = (
        f"import os, time\ndef run(mini_batch):\n    if mini_batch[0].endswith('a'):\n        {end}\n"
        "    return [p[-1] for p in mini_batch]\n"
    )
    code, log = bench.run(script, mini_batch_size=1, timeout=0.5)
    assert (code, bench.predictions) == (0, ["b", "c"]), log
    assert ("took longer than 0.5 seconds" if "sleep" in end else "ended with 7") in log


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("def init():\n    raise RuntimeError('no licence')\ndef run(mini_batch): ...\n", "no licence"),
        ("def init(): ...\n", "no function run"),
        ("import nothing_of_that_name\n", "nothing_of_that_name"),
        ("import os\ndef init():\n    os._exit(3)\ndef run(mini_batch): ...\n", "ended with 3"),
    ],
)
def test_a_script_that_cannot_start_fails_the_job(bench: Bench, script: str, words: str) -> None:
    bench.files("a")
    code, log = bench.run(script)
    assert (code, words in log) == (1, True), log


@pytest.mark.parametrize("result", ["5", "None", "'text'"])
def test_what_is_no_list_fails_its_mini_batch(bench: Bench, result: str) -> None:
    bench.files("a")
    code, log = bench.run(f"def run(mini_batch):\n    return {result}\n", error_threshold=0)
    assert (code, "must return a list or a pandas DataFrame" in log) == (1, True), log


def test_summary_only_writes_no_predictions(bench: Bench) -> None:
    bench.files("a")
    code, log = bench.run(NAMES, output_action="summary_only")
    assert (code, list((bench.folder / "out").iterdir())) == (0, []), log


def test_no_files(bench: Bench) -> None:
    code, log = bench.run(NAMES)
    assert (code, "no files to score" in log) == (1, True)


def test_time_limits_may_be_longer_than_a_process_can_sleep(bench: Bench) -> None:
    bench.files("a", "b")
    code, printed = bench.run(NAMES, timeout=100 * 365 * 86400.0)
    assert (code, bench.predictions) == (0, ["a", "b"]), printed


def test_a_worker_that_dies_between_mini_batches(bench: Bench) -> None:
    """Its death is heard as that of one which works: by its pipe, so that the mini-batch is tried again."""
    program = f"""
import importlib.util, sys
spec = importlib.util.spec_from_file_location("batch_driver", {str(DRIVER)!r})
driver = importlib.util.module_from_spec(spec)
spec.loader.exec_module(driver)
worker = driver.Worker("score.py")
assert worker.pipe.recv() == ("ready", None)
worker.process.kill()
worker.process.join()
worker.begin(0, 0, ["a"], 30.0)
scoring = driver.Scoring({SETTINGS!r}, [["a"]], None)
scoring._hear(worker, [worker])
print("failed:", scoring._failed_files)
"""
    (bench.folder / "code" / "score.py").write_text(NAMES)
    done = subprocess.run([sys.executable, "-c", program], cwd=bench.folder / "code", timeout=60, check=False,
                          capture_output=True, text=True)  # fmt: skip
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["failed: 1"]), done.stderr
