"""One gate of one candidate, as the activities run it: what it is given, which job it needs, when evidence is carried over."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from pilotage.domain.assets import ArtifactDigest, AssetRef, DataVersion, parse_asset
from pilotage.domain.canonical import digest
from pilotage.domain.gate_specs import ComponentGate, GateSpec
from pilotage.domain.gates import GateResult
from pilotage.domain.names import gate_job
from pilotage.domain.passport import ANCHOR
from pilotage.errors import InvalidInput, TooLarge
from pilotage.gates.carrying import evidence_key
from pilotage.gates.catalogue import find
from pilotage.gates.interface import Gate, GateJob, JobGate, JobOutcome
from pilotage.gates.moving import MOVABLE, PROGRAMS, JobRules, Moved, judged, may_move, moved
from pilotage.gates.packing import pack
from pilotage.gates.trial import LiveTrial, Place, asset_ref
from pilotage.messages import GateRequest
from pilotage.ports import Clock, Deployments, Jobs, JobSpec, ModelRegistry, ProgramSpec

RESULT_LIMIT = 32 * 1024 * 1024
"""Bytes of what a gate's job wrote."""


@dataclass(frozen=True)
class Measurement:
    """A gate, its spec and its trial, ready to begin or to finish."""

    wanted: GateRequest
    gate: Gate[Any]
    spec: GateSpec
    trial: LiveTrial
    rules: JobRules

    @classmethod
    def of(cls, wanted: GateRequest, registry: ModelRegistry, deployments: Deployments, clock: Clock, rules: JobRules) -> Measurement:
        """Raises InvalidInput for a gate that is not there, or a spec that it does not take."""
        gate, spec = find(wanted.kind, wanted.spec)
        where = wanted.production
        trial = LiveTrial(
            registry=registry, deployments=deployments, clock=clock, source=wanted.source, artifact_ref=asset_ref(wanted.model),
            model_digest=ArtifactDigest.model_validate(wanted.model_digest), environment=wanted.environment,
            pinned={text: DataVersion.model_validate(value) for text, value in wanted.data.items()}, home=wanted.home,
            candidate=Place(wanted.target["workspace"], wanted.target["endpoint"], wanted.target["name"]),
            production=(where["workspace"], where["endpoint"]) if where else None, roles=spec.data(), compares=gate.compares,
            limit=rules.limit_of(wanted.kind))
        return cls(wanted, gate, spec, trial, rules)

    @property
    def key(self) -> str:
        """What the verdict depends on; see `carrying`."""
        inputs = {text: self.trial.data(text).digest.value for text in sorted(self.spec.data().values())}
        # Equal files may be registered with another licence or card: what a gate may read of the model is part of it.
        # What we wrote there ourselves says nothing of the model: a passport's digest must not void the next attempt's evidence.
        model = self.trial.model
        properties = {name: text for name, text in model.properties.items() if not name.startswith(ANCHOR)}
        inputs["card"] = digest({"tags": model.tags, "properties": properties, "description": model.description})
        if self.spec.depends_on_time():
            inputs["day"] = self.trial.now().date().isoformat()
        if isinstance(self.spec, ComponentGate):
            inputs[self.spec.component] = str(self._component(self.spec.component))
        for who in (False, True) if self.gate.compares else (False,):
            if (trained := self.trial.training(champion=who)) is not None:
                inputs[f"training of the {'champion' if who else 'candidate'}"] = trained.digest.value
        return evidence_key(
            kind=self.wanted.kind, version=self.gate.version, spec=self.wanted.spec, model_digest=self.wanted.model_digest["value"],
            environment=self.wanted.environment_definition, inputs=inputs, size=self.wanted.size,
            champion=self.trial.champion() if self.gate.compares else None)

    def begin(self) -> GateResult | GateJob | Moved:
        """The verdict; or the job that must end first: the gate's own, or the gate itself where its data is too large to read here."""
        try:
            found = self.gate.begin(self.trial, self.spec)
        except TooLarge as error:
            if not may_move(self.wanted.kind, self.trial):
                raise
            return moved(self.wanted, self.gate, self.spec, self.trial, self.rules, error)
        return self._named(found) if isinstance(found, GateResult) else found

    def finish(self, outcome: JobOutcome) -> GateResult:
        if self.wanted.kind in MOVABLE:  # of these, only one that moved has a job
            return self._named(judged(self.trial, self.workspace, outcome))
        return self._named(cast(JobGate[Any], self.gate).finish(self.trial, self.spec, outcome))

    def _named(self, found: GateResult) -> GateResult:
        return found.model_copy(update={"gate": self.wanted.name, "severity": self.spec.severity, "version": self.gate.version})

    # --- jobs -----------------------------------------------------------------------------------------

    @property
    def job(self) -> str:
        return gate_job(self.wanted.promotion, self.wanted.name)

    @property
    def workspace(self) -> str:
        """Where gates' jobs run: in the candidate's own workspace."""
        return self.wanted.target["workspace"]

    @property
    def _seconds(self) -> int:
        """After which Azure ends the job by itself: a promotion that was terminated waits for nothing, and cancels nothing."""
        return max(int(self.spec.timeout.total_seconds()), 1)

    def submit(self, jobs: Jobs, wanted: GateJob | Moved) -> None:
        """Submit the gate's job unless it is there. Raises InvalidInput."""
        tags = {"pilotage-promotion": self.wanted.promotion, "pilotage-role": "gate"}
        experiment = "pilotage-gates"
        if isinstance(wanted, Moved):
            with TemporaryDirectory() as folder:
                code = Path(folder, "gates")  # one name: the upload is the same each time
                pack(code)
                jobs.begin_steps(wanted.steps(self.job, str(code), tags, experiment))
            return
        if wanted.program is not None:
            jobs.begin_program(ProgramSpec(
                workspace=self.workspace, name=self.job, program=str(PROGRAMS / wanted.program), command=wanted.command,
                environment=wanted.environment, compute=wanted.compute, tags=tags, experiment=experiment,
                timeout=self._seconds,
                inputs={name: (given.type, given.value) for name, given in wanted.inputs.items()}))
            return
        if wanted.component is None:
            raise InvalidInput(f"gate {self.wanted.name} asks for a job with neither a program nor a component")
        jobs.begin(JobSpec(
            workspace=self.workspace, name=self.job, component=self._component(wanted.component), output=wanted.output,
            compute=wanted.compute, tags=tags, experiment=experiment, timeout=self._seconds,
            inputs={name: given.value for name, given in wanted.inputs.items()},
            offered={"model": self.wanted.model, "endpoint": self.wanted.target["endpoint"], "deployment": self.wanted.target["name"]}))

    def _component(self, text: str) -> AssetRef:
        """As it was pinned; an installed gate's own component names its version itself."""
        pinned = self.wanted.components.get(text)
        return AssetRef.model_validate(pinned) if pinned else parse_asset(text, self.wanted.home)

    def outcome(self, jobs: Jobs) -> JobOutcome:
        """What the job came to. Raises Busy-like errors through; a job that is not there was never submitted, or deleted."""
        state = jobs.state(self.workspace, self.job)
        if state is None:
            return JobOutcome(name=self.job, status="Canceled", message="the job is not there any more")
        files = jobs.written(self.workspace, self.job, RESULT_LIMIT)
        return JobOutcome(name=self.job, status=state.status, message=state.message, link=state.link, files=files,
                          metrics=jobs.metrics(self.workspace, self.job))
