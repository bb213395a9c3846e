"""Many promotions that wait for people at once: what they cost while they wait, how soon they are back, whether each can still be decided.

Each is real: a model version registered by the real SDK, its event, its orchestration, an approval asked for before the test in staging.
All are rejected in the end, each with its own announcement's token; the command fails unless every decision has its effect.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import yaml

from emulator.status import processes
from emulator.testing import LivePlatform, wait_for

ROOT = Path(__file__).parents[1]
GOALS = {"idle": 1.0, "restart": 2.0}
"""Percent of a processor more than with none pending; seconds until the Functions host is ready."""
DEADLINE = 3600.0
POLICY: dict[str, Any] = {
    "apiVersion": "pilotage/v1", "name": "pending", "match": {"workspace": "mlw-dev", "model": "pending-*"},
    "scenario": "tabular", "registry": "shared-registry", "environment": "azureml:pending-env@latest",
    "stages": [
        {"name": "staging", "workspace": "mlw-staging", "target": {"kind": "online", "endpoint": "pending-stg"},
         "approval": {"quorum": 1, "approvers": ["group:ml-leads"], "expires": "P3D"},
         "gates": [{"smoke": {"samples": "azureml:pending-requests@latest"}}]},
        {"name": "production", "workspace": "mlw-prod", "target": {"kind": "online", "endpoint": "pending"},
         "approval": {"quorum": 1, "approvers": ["group:ml-leads"], "expires": "P3D"},
         "rollout": {"steps": [{"traffic": 100}], "keep_previous": "PT24H", "check": {"samples": "azureml:pending-requests@latest"}}},
    ],
}


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench pending", description=__doc__)
    parser.add_argument("--promotions", type=int, default=1000, help="how many wait at once (default: %(default)s, at most 1000)")
    parser.add_argument("--idle", type=float, default=60.0, help="seconds of doing nothing, before and after (default: %(default)g)")
    options = parser.parse_args(argv)
    if not 1 <= options.promotions <= 1000:
        parser.error("--promotions: from 1 to 1000, which is how many announcements the local mailbox keeps")
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    with tempfile.TemporaryDirectory(prefix="pending-bench-") as folder:
        policies = Path(folder) / "policies"
        policies.mkdir()
        # The guardrails name the object ids of the platform's people: whose model it is must be known before anybody decides.
        shutil.copy(ROOT / "policies" / "guardrails.yaml", policies)
        (policies / "pending.yaml").write_text(yaml.safe_dump(POLICY, sort_keys=False))
        platform = LivePlatform(Path(folder) / "state", settings={"PILOTAGE_POLICIES": str(policies)}).start()
        try:
            Bench(platform, options.promotions, Path(folder)).run(options.idle)
        finally:
            platform.stop()


class Bench:
    """One run on one platform."""

    def __init__(self, platform: LivePlatform, count: int, folder: Path) -> None:
        self._platform, self._count, self._folder = platform, count, folder

    def run(self, idle: float) -> None:
        alone, host_alone = self._restart()
        quiet = self._idle(idle)
        begun = time.perf_counter()
        self._register()
        _say(f"registered {self._count} versions in {time.perf_counter() - begun:.0f} s")
        self._wait("awaiting_approval")
        announced = self._announced()
        _say(f"all await approval, and are announced, after {time.perf_counter() - begun:.0f} s")
        waiting = self._idle(idle)
        _say(f"idle: {quiet:.2f} % of a processor with none pending, {waiting:.2f} % with {self._count}{_over('idle', waiting - quiet)}")
        back, host = self._restart()
        first = self._first_decision(announced[0])
        _say(f"Functions host: ready {host_alone:.2f} s after its start with none pending, {host:.2f} s with {self._count}"
             f"{_over('restart', host)}")
        _say(f"whole platform: ready after {alone:.2f} s with none pending, {back:.2f} s with {self._count}; "
             f"a decision given then had its effect {first:.2f} s later")
        begun = time.perf_counter()
        self._reject(announced[1:])
        self._wait("rejected")
        _say(f"{self._count} of {self._count} rejected, each by its own token, in {time.perf_counter() - begun:.0f} s")

    def _register(self) -> None:
        from azure.ai.ml import MLClient
        from azure.ai.ml.entities import Data, Environment, Model
        from azure.identity import DefaultAzureCredential

        os.environ.update(self._platform.variables("ada"))
        env = self._platform.env
        ml = MLClient(DefaultAzureCredential(), env["AZURE_SUBSCRIPTION_ID"], env["AZURE_RESOURCE_GROUP"], env["AZUREML_WORKSPACE_DEV"])
        model, requests = self._folder / "model.txt", self._folder / "requests.jsonl"
        model.write_text("a model")
        requests.write_text('{"input_data": [1]}\n')
        ml.environments.create_or_update(Environment(name="pending-env", version="1", image="mcr.microsoft.com/azureml/minimal"))
        ml.data.create_or_update(Data(name="pending-requests", version="1", type="uri_file", path=str(requests)))
        # Equal files are uploaded once; later versions name the same place.
        made = ml.models.create_or_update(Model(name="pending-0", version="1", type="custom_model", path=str(model)))
        for number in range(1, self._count):
            ml.models.create_or_update(Model(name=f"pending-{number}", version="1", type="custom_model", path=made.path))

    def _wait(self, phase: str) -> None:
        with self._api() as api:
            seen = -1

            def look() -> bool | None:
                nonlocal seen
                found = _counted(api, phase)
                if found // 100 != seen // 100:
                    seen = found
                    print(f"  {phase}: {found}", flush=True)
                time.sleep(1)
                return True if found == self._count else None

            wait_for(f"{self._count} promotions {phase}", look, DEADLINE)

    def _announced(self) -> list[dict[str, Any]]:
        """One announcement a promotion, once all are there."""

        def look() -> list[dict[str, Any]] | None:
            time.sleep(1)
            found = {message["promotion"]: message for message in self._platform.mailbox("machines")
                     if message["kind"] == "awaiting_approval"}
            return [*found.values()] if len(found) == self._count else None

        return wait_for(f"{self._count} announcements", look, DEADLINE)

    def _idle(self, seconds: float) -> float:
        """Percent of one processor that all of the platform's processes use."""
        time.sleep(15)  # the tail of what was done before: a timer's turn, a garbage collection
        before = self._cpu()
        time.sleep(seconds)
        return (self._cpu() - before) / seconds * 100

    def _cpu(self) -> float:
        return sum(process.cpu_seconds for process in processes(int((self._platform.state / "lock").read_text())))

    def _restart(self) -> tuple[float, float]:
        """Seconds until `ready` of the whole platform, and of the Functions host alone: the process that waits for people."""
        self._platform.stop()
        host = self._host_alone()
        begun = time.perf_counter()
        self._platform.start()
        return time.perf_counter() - begun, host

    def _host_alone(self) -> float:
        state = self._platform.state
        begun = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "emulator.functions_host", "--app", str(ROOT),
             "--port", self._platform.env["FUNCTIONS_URL"].rpartition(":")[2],
             "--state", str(state / "functions"), "--clock", str(state / "clock.json")],
            env={**os.environ, **self._platform.env, "PYTHONUNBUFFERED": "1"}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert process.stdout is not None
        ready = any(line.startswith("Host ready") for line in process.stdout)
        took = time.perf_counter() - begun
        process.terminate()
        process.communicate()
        if not ready:
            sys.exit("the Functions host did not start")
        return took

    def _first_decision(self, message: dict[str, Any]) -> float:
        begun = time.perf_counter()
        self._reject([message])
        with self._api() as api:
            wait_for("its effect", lambda: True if api.get(
                f"/api/promotions/{message['promotion']}").raise_for_status().json()["phase"] == "rejected" else None)
        return time.perf_counter() - begun

    def _reject(self, messages: list[dict[str, Any]]) -> None:
        token = self._platform.user_token("grace", "api://pilotage/.default")
        with self._api(token) as api, ThreadPoolExecutor(4) as pool:
            for answer in pool.map(lambda message: api.post(
                    f"/api/approvals/{message['promotion']}/decision",
                    json={"decision": "reject", "reason": "a benchmark", "token": message["link_token"]}), messages):
                if answer.status_code != 202:
                    sys.exit(f"a decision was answered {answer.status_code}: {answer.text[:300]}")

    def _api(self, token: str | None = None) -> httpx.Client:
        return httpx.Client(base_url=self._platform.env["FUNCTIONS_URL"], timeout=120, trust_env=False,
                            headers={"Authorization": f"Bearer {token or self._platform.env['PILOTAGE_TOKEN']}"})


def _counted(api: httpx.Client, phase: str) -> int:
    """How many promotions are in a phase: page after page."""
    found, after = 0, ""
    while True:
        page = api.get("/api/promotions", params={"phase": phase, "limit": "1000", "after": after}).raise_for_status().json()
        found, after = found + len(page["items"]), page["next"] or ""
        if not after:
            return found


def _over(name: str, value: float) -> str:
    return "" if value <= GOALS[name] else f"  OVER its goal of {GOALS[name]:g}"


def _say(text: str) -> None:
    print(text, flush=True)
