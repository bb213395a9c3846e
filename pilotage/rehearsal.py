"""`pilotage gates run`: the gates of a policy alone, on a data scientist's own model, before it is registered for anybody.

The same gates, deployments and jobs as in a promotion, in the data scientist's workspace and as themselves; nothing is
recorded in the ledger, nothing is carried over, and what was made is taken away again, also when it is interrupted; after a
kill the sweeper takes the deployment, by its tag.
"""

from __future__ import annotations

import getpass
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from pilotage.domain.assets import ArtifactDigest, AssetRef, parse_asset
from pilotage.domain.canonical import short_hash
from pilotage.domain.gate_specs import ALONE
from pilotage.domain.gates import GateOutcome, GateResult
from pilotage.domain.names import rehearsal_tags, slug
from pilotage.domain.policy import Gate, PromotionPolicy
from pilotage.errors import InvalidInput, OperationFailed, PilotageError, Unavailable
from pilotage.gates.measuring import Measurement
from pilotage.gates.moving import JobRules
from pilotage.messages import GateRequest
from pilotage.ports import Clock, Deployments, DeploymentSpec, Jobs, ModelRegistry

ATTEMPTS = 5
"""How often what may pass (throttling, an outage) is tried."""
PATIENCE = 3600.0
"""Seconds that an endpoint or a deployment may take."""


@dataclass
class Rehearsal:
    """`told` hears what happens, in plain lines; `wait` sleeps for seconds."""

    policy: PromotionPolicy
    workspace: str
    registry: ModelRegistry
    deployments: Deployments
    jobs: Jobs
    clock: Clock
    endpoint: str | None = None
    """An endpoint that is there; None: one is made for the rehearsal, and deleted."""
    keep: bool = False
    rules: JobRules = field(default_factory=JobRules)
    told: Callable[[str], None] = lambda text: None
    wait: Callable[[float], None] = time.sleep
    _own: bool = field(default=False, init=False)

    def run(self, model: AssetRef, only: Sequence[str] = ()) -> list[GateResult]:
        """Deploy, measure, take down. Raises OperationFailed when the model does not come up, InvalidInput for an unknown gate."""
        gates = self._gates(only)
        digest = self._patiently(lambda: self.registry.model_digest(model))
        self.told(f"{model}: {digest.files} files, {digest.size} bytes, {digest.value[:19]}")
        pinned = self._pin(gates)
        with self._deployed(model, pinned["environment"], digest) as target:
            found: dict[str, GateResult] = {}
            for alone in (False, True):
                requests = [self._request(gate, model, digest, target, pinned) for gate in gates if (gate.kind in ALONE) is alone]
                with ThreadPoolExecutor(max_workers=max(len(requests), 1)) as side_by_side:
                    running = {side_by_side.submit(self._measure, request): request.name for request in requests}
                    for done in as_completed(running):
                        result = found[running[done]] = done.result()
                        self.told(f"{result.gate}: {result.outcome}: {result.message}")
        return [found[gate.name] for gate in gates]

    def _gates(self, only: Sequence[str]) -> list[Gate]:
        gates = self.policy.staging.gates
        if unknown := sorted(set(only) - {gate.name for gate in gates} - {gate.kind for gate in gates}):
            named = ", ".join(gate.name for gate in gates)
            raise InvalidInput(f"policy {self.policy.name} has no gate {', '.join(unknown)}; it has {named}")
        return [gate for gate in gates if not only or gate.name in only or gate.kind in only]

    def _pin(self, gates: Sequence[Gate]) -> dict[str, Any]:
        """Data, components and environment by version, resolved in the policy's home as a promotion would."""
        home, registry = self.policy.home, self.registry
        texts = dict.fromkeys(text for gate in gates for text in gate.spec.data().values())
        environment = None
        if self.policy.environment:
            ref = registry.pin("environments", parse_asset(self.policy.environment, home))
            environment = self._patiently(lambda: registry.environment(ref)).id
        return {
            "environment": environment,
            "data": {text: registry.data(registry.pin("data", parse_asset(text, home))).model_dump(mode="json") for text in texts},
            "components": {text: registry.pin("components", parse_asset(text, home)).model_dump()
                           for text in self.policy.component_texts()},
        }

    def _request(self, gate: Gate, model: AssetRef, digest: ArtifactDigest, target: dict[str, str], pinned: dict[str, Any]) -> GateRequest:
        production = self.policy.production
        return GateRequest(
            promotion=target["name"], name=gate.name, kind=gate.kind, home=self.policy.home, source=model,
            spec=gate.spec.model_dump(mode="json", exclude_none=True, by_alias=True), model=self.registry.model(model).id,
            model_digest=digest.model_dump(), target=target,
            production={"workspace": production.workspace, "endpoint": production.target.endpoint}, **pinned)

    # --- the deployment -------------------------------------------------------------------------------

    @contextmanager
    def _deployed(self, model: AssetRef, environment: str | None, digest: ArtifactDigest) -> Iterator[dict[str, str]]:
        """The model on an endpoint; both go again, whatever happens, but what was there before stays."""
        who = slug(getpass.getuser(), 8)
        name = f"r{short_hash(digest.value, str(self.clock.now().timestamp()))}"
        endpoint = self.endpoint or f"try-{who}-{short_hash(self.policy.name, name, length=8)}"
        target = {"workspace": self.workspace, "endpoint": endpoint, "name": name}
        tags = {"pilotage-role": "rehearsal"} if self.keep else rehearsal_tags(self.clock.now() + self._longest())
        try:
            if self.deployments.endpoint(self.workspace, endpoint) is None:
                self._own = True
                self.told(f"creating endpoint {endpoint} in {self.workspace}")
                self._patiently(lambda: self.deployments.begin_create_endpoint(self.workspace, endpoint, tags))
                self._until(lambda: self._endpoint_stands(endpoint), f"endpoint {endpoint}")
            size = self.policy.staging.target
            self.told(f"deploying {model.name}:{model.version} ({size.instances} x {size.instance_type})")
            spec = DeploymentSpec(workspace=self.workspace, endpoint=endpoint, name=name, model=self.registry.model(model).id,
                                  environment=environment, instance_type=size.instance_type, instances=size.instances,
                                  tags=tags)
            self._patiently(lambda: self.deployments.begin_create_deployment(spec))
            self._until(lambda: self._deployment_stands(target), f"deployment {name}")
            yield target
        finally:
            self._take_down(target)

    def _longest(self) -> timedelta:
        """How long a rehearsal may take that nothing interrupts: it comes up, its gates run out of time, those that run alone too."""
        return timedelta(seconds=2 * PATIENCE) + 2 * max((gate.spec.timeout for gate in self.policy.staging.gates), default=timedelta())

    def _endpoint_stands(self, endpoint: str) -> bool:
        found = self.deployments.endpoint(self.workspace, endpoint)
        if found is not None and found.provisioning_state == "Failed":
            raise OperationFailed(f"endpoint {endpoint} could not be created")
        return found is not None and found.provisioning_state == "Succeeded"

    def _deployment_stands(self, target: dict[str, str]) -> bool:
        at = (target["workspace"], target["endpoint"], target["name"])
        found = self.deployments.deployment(*at)
        if found is not None and found.provisioning_state in ("Failed", "Canceled"):
            tail = self.deployments.logs(*at, lines=20)
            raise OperationFailed(f"the model does not come up: {found.error or found.provisioning_state}; log: {tail[-1500:]}")
        return found is not None and found.provisioning_state == "Succeeded"

    def _take_down(self, target: dict[str, str]) -> None:
        if self.keep:
            self.told(f"kept: {'/'.join(target.values())}; delete it when you are done: it costs money")
            return
        at = (target["workspace"], target["endpoint"], target["name"])
        try:
            self._patiently(lambda: self.deployments.begin_delete_deployment(*at))
            self._until(lambda: self.deployments.deployment(*at) is None, f"the end of deployment {target['name']}")
            if self._own:
                self._patiently(lambda: self.deployments.begin_delete_endpoint(self.workspace, target["endpoint"]))
        except PilotageError as error:
            self.told(f"could not take down {'/'.join(target.values())}: {error}; delete it by hand")

    # --- the gates ------------------------------------------------------------------------------------

    def _measure(self, request: GateRequest) -> GateResult:
        try:
            measurement = Measurement.of(request, self.registry, self.deployments, self.clock, self.rules)
            found = self._patiently(measurement.begin)
            if not isinstance(found, GateResult):
                measurement.submit(self.jobs, found)
                self.told(f"{request.name}: job {measurement.job} in {measurement.workspace}")
                try:
                    self._until(lambda: self._job_ended(measurement), f"job {measurement.job}", measurement.spec.timeout.total_seconds())
                except PilotageError:
                    self.jobs.cancel(measurement.workspace, measurement.job)
                    raise
                return self._patiently(lambda: measurement.finish(measurement.outcome(self.jobs)))
            return found
        except PilotageError as error:
            return GateResult(gate=request.name, outcome=GateOutcome.ERRORED, message=f"{type(error).__name__}: {error}",
                              severity=request.spec.get("severity", "block"))

    def _job_ended(self, measurement: Measurement) -> bool:
        state = self.jobs.state(measurement.workspace, measurement.job)
        return state is not None and state.terminal

    # --- patience -------------------------------------------------------------------------------------

    def _patiently[Result](self, ask: Callable[[], Result]) -> Result:
        """Ask again while it may pass; the last refusal is raised."""
        for attempt in range(ATTEMPTS - 1):
            try:
                return ask()
            except PilotageError as error:
                if not error.retryable:
                    raise
                self.wait(min(2.0 ** attempt, 20.0))
        return ask()

    def _until(self, done: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
        """Look until it is so. Raises Unavailable after so many seconds of waiting."""
        waited, pause = 0.0, 1.0
        while not self._patiently(done):
            if waited >= seconds:
                raise Unavailable(f"{what} was waited for {seconds:.0f} s")
            self.wait(pause)
            waited += pause
            pause = min(pause * 1.3, 30.0)
