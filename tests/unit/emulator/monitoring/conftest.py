from __future__ import annotations

import json
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from emulator.azure_ml.jobs.image import TRAINING
from tests.support.azure_ml import LocalAzureMl, running


@pytest.fixture
async def local(tmp_path: Path) -> AsyncIterator[LocalAzureMl]:
    async with running(tmp_path) as found:
        yield found


@pytest.fixture(scope="session")
def image() -> Iterator[Callable[..., Any]]:
    """Calls `module:name` with arguments in the training image's Python; raises AssertionError with its error."""
    script = Path(__file__).with_name("in_the_image.py")
    process = subprocess.Popen(
        [TRAINING / "bin" / "python", script],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(TRAINING.parent)},
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None

    def call(path: str, *arguments: Any) -> Any:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps([path, arguments]) + "\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        assert "error" not in answer, answer["error"]
        return answer["value"]

    yield call
    process.stdin.close()
    process.wait(10)
