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
START_SECONDS = 120.0
"""How long a process may take until its health probe answers."""
CONCURRENT_STARTS = 2
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

    async def remove(self, deployment_id: str) -> None:
        key = deployment_id.lower()
        keeper = self._keepers.pop(key, None)
        if keeper is not None:
            keeper.cancel()
        self._ready.pop(key, None)
        scorer = self._routed.pop(key, None)
        if scorer is not None:
            await scorer.end(grace=0.5)  # nobody waits for answers of what is deleted

    async def stop(self) -> None:
        for keeper in self._keepers.values():
            keeper.cancel()
        await asyncio.gather(*self._keepers.values(), return_exceptions=True)
        self._keepers.clear()
        await self._host.stop()
        await self.client.aclose()

    def _keep(self, deployment_id: str, spec: ScorerSpec, scorer: ScoringProcess | None) -> None:
        key = deployment_id.lower()
        before = self._keepers.pop(key, None)
        if before is not None:
            before.cancel()
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
            try:
                async with asyncio.timeout(START_SECONDS):
                    await self._healthy(scorer)
            except TimeoutError:
                await scorer.end(grace=0)
                raise OperationFailed(
                    "Readiness probe failed: the container did not answer in time.", code="ResourceNotReady"
                ) from None
            except BaseException:
                await scorer.end(grace=0)
                raise
            return scorer

    async def _healthy(self, scorer: ScoringProcess) -> None:
        """Return once the process answers its health probe: the connection waits until it can."""
        while scorer.alive:
            probe = asyncio.ensure_future(self.client.get(scorer.url + "/", timeout=START_SECONDS))
            try:
                either: list[asyncio.Future[Any]] = [probe, scorer.exited]
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                if probe.done() and probe.exception() is None and probe.result().status_code == 200:
                    return
            finally:
                probe.cancel()
            await asyncio.sleep(0.05)
        raise OperationFailed(
            "User container has crashed or terminated: see the deployment's logs"
            " (az ml online-deployment get-logs).",
            code="ResourceNotReady",
        )
