"""Scoring processes: one for each deployment that serves, replaced without a gap, restarted when they die."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx

from emulator.azure_ml.errors import OperationFailed
from emulator.azure_ml.fork_server import ForkServer, ScoringProcess, base_environment
from emulator.context import EmulatorError

logger = logging.getLogger(__name__)

IMAGE = Path(__file__).resolve().parents[1] / "images" / "inference"
START_SECONDS = 302.0
"""How long a process may take until its health probe answers, by the default probes."""
CONCURRENT_STARTS = 2
TURN_SECONDS = 15.0
"""How long one start may keep others waiting: a script that hangs must not hold up every deployment."""
NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Trusts no certificate: scoring processes speak plain HTTP, and loading real ones takes its time."""


@dataclass(frozen=True, slots=True)
class ScorerSpec:
    """What a scoring process is started with; kept with the deployment: a restart needs nothing else."""

    entry_script: str
    """Absolute path."""
    model_dir: str | None
    """`AZUREML_MODEL_DIR`: the folder that holds the model's file or folder."""
    cwd: str
    """The folder of the scoring code."""
    home: str
    """The folder with everything that was fetched for the process."""
    log: str
    environment: dict[str, str] = field(default_factory=dict)
    """The deployment's environment variables."""
    startup_seconds: float = START_SECONDS
    """How long its probes wait for it: initial delay and periods, up to the failure threshold."""
    startup_probe: str = "Readiness"
    """Which probe gives up first."""
    successes: int = 1
    """How often in a row the readiness probe must succeed, `period` seconds apart."""
    period: float = 10.0
    liveness: dict[str, float] = field(default_factory=lambda: {"period": 10.0, "timeout": 2.0, "failures": 30})
    """What a process that may hang is asked by, and how often it may fail in a row."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Scorers:
    """Keyed by deployment id, in lower case."""

    def __init__(self, log: Path, image: Path) -> None:
        self._python = image / ".venv" / "bin" / "python"
        self.mlflow_script = image / "mlflow_score.py"
        self._host = ForkServer(self._python, log)
        self._routed: dict[str, ScoringProcess] = {}
        self._ready: dict[str, asyncio.Event] = {}
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self._specs: dict[str, ScorerSpec] = {}
        self._doubts: dict[str, asyncio.Task[None]] = {}
        self._starting = asyncio.Semaphore(CONCURRENT_STARTS)
        # Loopback only: never through a proxy that the environment names.
        self.client = httpx.AsyncClient(
            trust_env=False, verify=NOBODY, timeout=30.0, limits=httpx.Limits(max_connections=None)
        )

    def warm(self) -> None:
        """Begin in the background what the first start would have to wait for."""
        self._host.warm()

    def restore(self, deployment_id: str, spec: ScorerSpec) -> None:
        """Start again, in the background, what served before the platform ended; `get` waits for it."""
        self._keep(deployment_id, spec, None)

    async def replace(self, deployment_id: str, spec: ScorerSpec) -> None:
        """Start a process, wait until it is healthy, route to it, then end the one before.

        Raises `OperationFailed` when it does not become healthy; the one before goes on serving.
        """
        scorer = await self._start(spec)
        key = deployment_id.lower()
        old = self._routed.get(key)
        self._keep(deployment_id, spec, scorer)
        if old is not None:
            await old.end()

    async def get(self, deployment_id: str, patience: float = 60.0) -> ScoringProcess | None:
        """The process that serves a deployment, waited for while it starts again; None when there is none."""
        key = deployment_id.lower()
        event = self._ready.get(key)
        if event is None:
            return None
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), patience)
        return self._routed.get(key)

    def doubt(self, deployment_id: str) -> None:
        """Ask a process whether it is alive, because a request to it took too long; one that is not is started again.

        Kubernetes asks all the time. Here it is enough to ask while there is a reason to: an idle platform does nothing.
        """
        key = deployment_id.lower()
        scorer, spec = self._routed.get(key), self._specs.get(key)
        if scorer is not None and spec is not None and key not in self._doubts:
            doubt = asyncio.create_task(self._live_or_end(scorer, spec), name=f"liveness of {key.rpartition('/')[2]}")
            self._doubts[key] = doubt
            doubt.add_done_callback(lambda _: self._doubts.pop(key, None))

    async def _live_or_end(self, scorer: ScoringProcess, spec: ScorerSpec) -> None:
        for _ in range(int(spec.liveness["failures"])):
            await asyncio.wait([scorer.exited], timeout=spec.liveness["period"])
            if not scorer.alive:
                return
            with contextlib.suppress(httpx.HTTPError):
                if (await self.client.get(scorer.url + "/", timeout=spec.liveness["timeout"])).status_code == 200:
                    return
        logger.warning("the liveness probe of process %s failed", scorer.pid)
        await scorer.end(grace=0)

    async def remove(self, deployment_id: str) -> None:
        key = deployment_id.lower()
        keeper = self._keepers.pop(key, None)
        if keeper is not None:
            keeper.cancel()
        self._ready.pop(key, None)
        self._specs.pop(key, None)
        scorer = self._routed.pop(key, None)
        if scorer is not None:
            await scorer.end(grace=0.5)  # nobody waits for answers of what is deleted

    async def clear(self) -> None:
        """End every process at once; the host that forks them stays warm."""
        await self._stop_tasks()
        await asyncio.gather(*(scorer.end(grace=0) for scorer in self._routed.values()))
        self._specs.clear()
        self._ready.clear()
        self._routed.clear()

    async def stop(self) -> None:
        await self._stop_tasks()
        await self._host.stop()
        await self.client.aclose()

    async def _stop_tasks(self) -> None:
        tasks = [*self._keepers.values(), *self._doubts.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._keepers.clear()

    def _keep(self, deployment_id: str, spec: ScorerSpec, scorer: ScoringProcess | None) -> None:
        key = deployment_id.lower()
        before = self._keepers.pop(key, None)
        if before is not None:
            before.cancel()
        self._specs[key] = spec
        ready = self._ready.setdefault(key, asyncio.Event())
        if scorer is None:
            ready.clear()
        else:
            self._routed[key] = scorer
            ready.set()
        self._keepers[key] = asyncio.create_task(
            self._run(key, spec, scorer), name=f"scorer {key.rpartition('/')[2]}"
        )

    async def _run(self, key: str, spec: ScorerSpec, scorer: ScoringProcess | None) -> None:
        """Keep one process running, as a cluster does: the next try later each time it fails to start."""
        delay = 0.5
        while True:
            if scorer is None:
                try:
                    scorer = await self._start(spec)
                except EmulatorError as failure:
                    logger.warning("%s does not start: %s", key, failure)
                    await asyncio.sleep(delay)
                    delay = min(delay * 2, 30.0)
                    continue
                delay = 0.5
                self._routed[key] = scorer
                self._ready[key].set()
            code = await asyncio.shield(scorer.exited)
            logger.warning("the scoring process of %s ended with %s; starting it again", key, code)
            self._routed.pop(key, None)
            self._ready[key].clear()
            scorer = None

    async def _start(self, spec: ScorerSpec) -> ScoringProcess:
        async with self._starting:
            variables = {
                **base_environment(self._python),
                "HOME": spec.home,
                "AML_APP_ROOT": spec.cwd,
                # Its control socket would lie in a folder that all deployments share.
                "GUNICORN_CMD_ARGS": "--no-control-socket",
                **spec.environment,
            }
            wanted = {
                "entry_script": spec.entry_script,
                "model_dir": spec.model_dir,
                "cwd": spec.cwd,
                "log": spec.log,
            }
            scorer = await self._host.start({**wanted, "environment": variables})
            health = asyncio.create_task(self._healthy(scorer, spec), name="first health probe")
            try:
                patience = spec.startup_seconds + (spec.successes - 1) * spec.period
                deadline = asyncio.get_running_loop().time() + patience
                await asyncio.wait([health], timeout=min(TURN_SECONDS, patience))
            except BaseException:
                await _abandon(health, scorer)
                raise
        try:
            async with asyncio.timeout_at(deadline):
                await health
        except TimeoutError:
            await _abandon(health, scorer)
            raise OperationFailed(
                f"{spec.startup_probe} probe failed: the container did not answer within"
                f" {spec.startup_seconds:g} seconds. See the deployment's logs (az ml online-deployment get-logs).",
                code="ResourceNotReady",
            ) from None
        except BaseException:
            await _abandon(health, scorer)
            raise
        return scorer

    async def _healthy(self, scorer: ScoringProcess, spec: ScorerSpec) -> None:
        """Return once the process answers its health probe often enough: the first connection waits until it can.

        Probing begins at once: a deployment's initial delay is only time that a slow start is given.
        """
        successes = 0
        while scorer.alive:
            probe = asyncio.ensure_future(self.client.get(scorer.url + "/", timeout=spec.startup_seconds))
            try:
                either: list[asyncio.Future[Any]] = [probe, scorer.exited]
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                healthy = probe.done() and probe.exception() is None and probe.result().status_code == 200
            finally:
                probe.cancel()
            successes = successes + 1 if healthy else 0
            if successes >= spec.successes:
                return
            await asyncio.wait([scorer.exited], timeout=spec.period if healthy else 0.05)
        raise OperationFailed(
            "User container has crashed or terminated: see the deployment's logs"
            " (az ml online-deployment get-logs).",
            code="ResourceNotReady",
        )


async def _abandon(health: asyncio.Task[None], scorer: ScoringProcess) -> None:
    health.cancel()
    await asyncio.gather(health, return_exceptions=True)
    await scorer.end(grace=0)
