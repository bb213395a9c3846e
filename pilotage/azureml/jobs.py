"""`Jobs`: components and programs of ours run as jobs, under names that make a repeated submission find the first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pilotage.azure_errors import azure_errors
from pilotage.azureml.artifacts import Artifact
from pilotage.azureml.connections import WORKSPACE_ROLE, Connections
from pilotage.azureml.datastores import in_datastore
from pilotage.azureml.history import RunHistory, failure
from pilotage.azureml.locations import DatastorePath, parse_location
from pilotage.azureml.sdk import word
from pilotage.domain.assets import AssetRef
from pilotage.errors import Busy, Conflict, InvalidInput, NotFound
from pilotage.ports import JobSpec, JobState, ProgramSpec, StepsSpec

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

ASSET_TYPES = frozenset({"uri_file", "uri_folder", "mltable", "custom_model", "mlflow_model", "triton_model"})
RESULT = "result"
"""Output of a program of ours."""
_LITERALS: dict[str, Any] = {"string": str, "integer": int, "number": float}
_BOOLEANS = {"true": True, "false": False}


class PipelineJobs:
    """Jobs as Azure ML has them."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._history = RunHistory(connections)

    def begin(self, spec: JobSpec) -> None:
        """Submit; does nothing when the job is there. Nothing is uploaded: component and data are named by version.

        Raises NotFound for an unknown component or input, InvalidInput for inputs that the component does not
        declare or that do not fit, Conflict when a job of this name was submitted for something else.
        """
        from azure.ai.ml.entities import PipelineJob, PipelineJobSettings

        with self._asking(spec.workspace, f"submit job {spec.workspace}/{spec.name}") as client:
            if _submitted(client, spec):
                return
            component = self._component(client, spec.component)
            inputs = _inputs(component, spec)
            declared = sorted(component.outputs or {})
            if spec.output is not None and spec.output not in declared:
                raise InvalidInput(f"{spec.component} declares no output {spec.output!r} (it has {', '.join(declared)})")
            if component.type == "pipeline":
                job = PipelineJob(component=_component_id(spec.component), inputs=inputs,
                                  outputs=_kept(spec, component) if spec.output else None)
            else:
                job = _around(component, inputs, spec)
            job.name, job.display_name, job.experiment_name, job.tags = spec.name, spec.name, spec.experiment, spec.tags
            job.settings = PipelineJobSettings(default_compute=spec.compute)
            client.jobs.create_or_update(job)

    def begin_program(self, spec: ProgramSpec) -> None:
        """Submit; does nothing when the job is there. Raises NotFound for an unknown environment or input, Conflict as `begin`."""
        from azure.ai.ml import Input, Output, command

        if spec.environment is None:
            raise InvalidInput("this runs the model itself, in its own environment, and the policy pins none: set `environment`")
        with self._asking(spec.workspace, f"submit job {spec.workspace}/{spec.name}") as client:
            if _submitted(client, spec):
                return
            # Repeated uploads of one folder's bytes are one code asset: the SDK names it by its hash.
            job = command(
                name=spec.name, display_name=spec.name, experiment_name=spec.experiment, tags=spec.tags, code=spec.program,
                command=spec.command, environment=spec.environment, compute=spec.compute,
                inputs={name: Input(type=kind, path=value) if kind in ASSET_TYPES else _input(name, kind, value)
                        for name, (kind, value) in spec.inputs.items()},
                outputs={RESULT: Output(type="uri_folder", path=_written_to(spec.name))})
            job.set_limits(timeout=spec.timeout)
            client.jobs.create_or_update(job)

    def begin_steps(self, spec: StepsSpec) -> None:
        """Submit; does nothing when the job is there. Raises NotFound for an unknown environment or input, Conflict as `begin`."""
        from azure.ai.ml.entities import PipelineJobSettings

        with self._asking(spec.workspace, f"submit job {spec.workspace}/{spec.name}") as client:
            if _submitted(client, spec):
                return
            with TemporaryDirectory() as folder:
                job = _in_steps(spec, Path(folder))
                job.name, job.display_name, job.experiment_name, job.tags = spec.name, spec.name, spec.experiment, spec.tags
                job.settings = PipelineJobSettings(default_compute=spec.compute)
                client.jobs.create_or_update(job)

    def written(self, workspace: str, name: str, limit: int) -> list[tuple[str, bytes]]:
        """What the job wrote where `begin` and `begin_program` told it to; empty when it wrote nothing. Raises TooLarge."""
        home = self._connections.workspace(workspace)
        at = parse_location(_written_to(name))
        assert isinstance(at, DatastorePath)
        try:
            return Artifact(in_datastore(home, at), home.credential).read(limit)
        except NotFound:
            return []

    def metrics(self, workspace: str, name: str) -> dict[str, float]:
        """Last values that the job and its steps logged. Raises NotFound when there is no such job."""
        at = self._connections.workspace(workspace)
        with self._asking(workspace, f"list the steps of job {workspace}/{name}") as client:
            steps = [str(step.name) for step in client.jobs.list(parent_job_name=name)]
        found: dict[str, float] = {}
        for run in [*steps, name]:
            found |= self._history.metrics(at, run)
        return found

    def state(self, workspace: str, name: str) -> JobState | None:
        """The job as it is now; of a failed one, with what run history says of it."""
        with self._asking(workspace, f"read job {workspace}/{name}") as client:
            found = _or_none(client, name)
        if found is None:
            return None
        state = JobState(name=name, status=word(found.status) or "NotStarted", link=str(found.studio_url or ""))
        if state.status == "Failed":
            state = state.model_copy(update={"message": self._why(workspace, name, found)})
        return state

    def _why(self, workspace: str, name: str, job: Any) -> str:
        """Why a job failed: its own words; of a pipeline those of the first step that failed too, for its own name no cause."""
        at = self._connections.workspace(workspace)
        told = failure(self._history.run(at, name) or {})
        if word(job.type) != "pipeline":
            return told
        with self._asking(workspace, f"list the steps of job {workspace}/{name}") as client:
            steps = [step for step in client.jobs.list(parent_job_name=name) if word(step.status) == "Failed"]
        for step in steps:
            cause = failure(self._history.run(at, str(step.name)) or {})
            if cause and cause not in told:
                return f"{told} {step.display_name or step.name}: {cause}".strip()[:1000]
        return told

    def cancel(self, workspace: str, name: str) -> None:
        """Ask for the end of a job; absent, or over, is fine."""
        state = self.state(workspace, name)
        if state is None or state.terminal:
            return
        with self._asking(workspace, f"cancel job {workspace}/{name}") as client:
            client.jobs.begin_cancel(name, polling=False)

    def _component(self, client: MLClient, ref: AssetRef) -> Any:
        home = self._connections.registry(ref.registry) if ref.registry else client
        return home.components.get(name=ref.name, version=ref.version)

    @contextmanager
    def _asking(self, workspace: str, what: str) -> Iterator[MLClient]:
        client = self._connections.workspace(workspace).client
        with azure_errors(what, WORKSPACE_ROLE, conflict=Busy):
            yield client


def _submitted(client: MLClient, spec: JobSpec | ProgramSpec | StepsSpec) -> bool:
    """Whether the job is there. Raises Conflict when the one that is there was submitted for something else."""
    found = _or_none(client, spec.name)
    if found is not None and any((found.tags or {}).get(name) != value for name, value in spec.tags.items()):
        raise Conflict(f"a job {spec.name} exists in {spec.workspace}, with other tags: {found.tags}")
    return found is not None


def _inputs(component: Any, spec: JobSpec) -> dict[str, Any]:
    """The inputs as the component declares them: assets by id, literals by their type. Raises InvalidInput."""
    declared: Mapping[str, Any] = component.inputs or {}
    given = {name: text for name, text in spec.offered.items() if name in declared} | spec.inputs
    if unknown := sorted(set(given) - set(declared)):
        raise InvalidInput(f"{spec.component} declares no input {', '.join(unknown)} (it has {', '.join(sorted(declared))})")
    missing = sorted(name for name, wanted in declared.items() if name not in given and not wanted.optional and wanted.default is None)
    if missing:
        raise InvalidInput(f"{spec.component} needs the input {', '.join(missing)}: set it under the policy's inputs")
    return {name: _input(name, declared[name].type, text) for name, text in given.items()}


def _around(component: Any, inputs: dict[str, Any], spec: JobSpec) -> Any:
    """A pipeline of one step: a component that is no pipeline does not run by itself."""
    from azure.ai.ml import dsl

    @dsl.pipeline
    def single() -> dict[str, Any] | None:
        step = component(**inputs)
        if spec.timeout is not None and component.type == "command":
            own = step.limits.timeout if step.limits is not None else None
            step.set_limits(timeout=min(own or spec.timeout, spec.timeout))
        return {spec.output: getattr(step.outputs, spec.output)} if spec.output else None

    job = single()
    if spec.output:
        job.outputs[spec.output] = _kept(spec, component)[spec.output]
    return job


def _in_steps(spec: StepsSpec, folder: Path) -> Any:
    """A pipeline of the programs; `folder` holds the documents until they are uploaded with it."""
    from azure.ai.ml import Input, Output, command, dsl

    given: dict[str, Any] = {name: Input(type=kind, path=value) for name, (kind, value) in spec.inputs.items()}
    for name, text in spec.documents.items():
        (folder / f"{name}.json").write_text(text, encoding="utf-8")
        given[name] = Input(type="uri_file", path=str(folder / f"{name}.json"))

    @dsl.pipeline
    def programs() -> dict[str, Any]:
        made: dict[str, Any] = {}
        for step in spec.steps:
            bound = {name: _bound(source, given, made) for name, source in step.inputs.items()}
            node = command(
                name=step.name, display_name=step.name, code=step.program, command=step.command, environment=step.environment,
                inputs={name: Input(type=value.type if isinstance(value, Input) else "uri_folder") for name, value in bound.items()},
                outputs={name: Output(type="uri_folder") for name in step.outputs})(**bound)
            node.name = step.name
            node.set_limits(timeout=spec.timeout)
            made[step.name] = node
        return {RESULT: getattr(made[spec.steps[-1].name].outputs, RESULT)}

    job = programs()
    job.outputs[RESULT] = Output(type="uri_folder", path=_written_to(spec.name))
    return job


def _bound(source: str, given: Mapping[str, Any], made: Mapping[str, Any]) -> Any:
    step, _, output = source.partition(".")
    return getattr(made[step].outputs, output) if output else given[source]


def _kept(spec: JobSpec, component: Any) -> dict[str, Any]:
    """The output that is read back, at a place that follows from the job's name."""
    from azure.ai.ml import Output

    assert spec.output is not None
    kind = component.outputs[spec.output].type
    return {spec.output: Output(type=kind, path=_written_to(spec.name) + ("result" if kind == "uri_file" else ""))}


def _written_to(job: str) -> str:
    return f"azureml://datastores/workspaceblobstore/paths/pilotage/{job}/{RESULT}/"


def _or_none(client: MLClient, name: str) -> Any:
    from azure.core.exceptions import ResourceNotFoundError

    try:
        return client.jobs.get(name)
    except ResourceNotFoundError:
        return None


def _input(name: str, kind: str, text: str) -> Any:
    """One input's value. Raises InvalidInput when the text is not of the declared type."""
    from azure.ai.ml import Input

    if kind in ASSET_TYPES:
        return Input(type=kind, path=text)
    try:
        return _BOOLEANS[text.casefold()] if kind == "boolean" else _LITERALS[kind](text)
    except (KeyError, ValueError) as error:
        raise InvalidInput(f"input {name} is {text!r}, which is not of type {kind}") from error


def _component_id(ref: AssetRef) -> str:
    if ref.registry:
        return f"azureml://registries/{ref.registry}/components/{ref.name}/versions/{ref.version}"
    return f"azureml:{ref.name}:{ref.version}"
