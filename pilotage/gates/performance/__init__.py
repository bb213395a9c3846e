"""The gate `performance`: latency, errors and throughput of the deployment under the policy's load."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from pilotage.domain.gate_specs import PerformanceGate, result_name
from pilotage.domain.gates import GateResult
from pilotage.errors import InvalidInput
from pilotage.gates.interface import Trial
from pilotage.gates.performance.judge import judge, limits_of
from pilotage.gates.performance.load import Load, measure, schedule
from pilotage.gates.performance.plots import figures
from pilotage.gates.tables import requests

if TYPE_CHECKING:
    import httpx


class Performance:
    """Sends the load from this machine and judges what came of it. `transport` and `loop_factory`: as in `load.measure`."""

    kind = "performance"
    version = "1"
    compares = False
    spec = PerformanceGate

    def __init__(self, transport: httpx.AsyncBaseTransport | None = None,
                 loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None) -> None:
        self._transport = transport
        self._loop_factory = loop_factory

    def begin(self, trial: Trial, spec: PerformanceGate) -> GateResult:
        """Takes requests / rate_per_second, and the warm-up. Raises what `measure` raises; InvalidInput without sample requests."""
        bodies = [json.dumps(request).encode() for request, _ in requests(trial.files(spec.samples), spec.samples)]
        if not bodies:
            raise InvalidInput(f"{spec.samples} has no sample requests: it needs a .json file, or a .jsonl with one request a line")
        address = trial.address()
        load = Load(
            url=address.url, headers={"Content-Type": "application/json"} | address.headers, bodies=bodies,
            due=schedule(spec.requests, spec.rate_per_second, trial.seed),
            # Other draws than the measured ones: the warm-up must not rehearse them.
            warmup_due=schedule(spec.warmup_requests, spec.rate_per_second, trial.seed + 1),
            concurrency=spec.concurrency, timeout=spec.request_timeout_ms / 1000)
        measured = measure(load, transport=self._transport, loop_factory=self._loop_factory)
        verdict = judge(spec, measured)
        found = {name: entry["value"] for name, entry in verdict.evidence["latency_ms"].items() if entry["value"] is not None}
        return GateResult(
            gate=result_name(self.kind, spec), outcome=verdict.outcome, message=verdict.message, severity=spec.severity,
            version=self.version, inputs={"samples": trial.data(spec.samples).digest.value},
            evidence=verdict.evidence | {"seed": trial.seed, "sample_requests": len(bodies)},
            figures=figures(measured.sent, limits_of(spec), found))
