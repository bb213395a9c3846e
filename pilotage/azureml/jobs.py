"""`Jobs`: pipeline components run as jobs, under names that make a repeated submission find the first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pilotage.azure_errors import azure_errors
from pilotage.azureml.connections import WORKSPACE_ROLE, Connections
from pilotage.azureml.history import RunHistory, failure
from pilotage.azureml.sdk import word
from pilotage.domain.assets import AssetRef
from pilotage.errors import Busy, Conflict, InvalidInput
from pilotage.ports import JobSpec, JobState

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

ASSET_TYPES = frozenset({"uri_file", "uri_folder", "mltable", "custom_model", "mlflow_model", "triton_model"})
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
            found = _or_none(client, spec.name)
            if found is not None:
                if any((found.tags or {}).get(name) != value for name, value in spec.tags.items()):
                    raise Conflict(f"a job {spec.name} exists in {spec.workspace}, with other tags: {found.tags}")
                return
            client.jobs.create_or_update(PipelineJob(
                name=spec.name, experiment_name=spec.experiment, display_name=spec.name, tags=spec.tags,
                component=_component_id(spec.component), inputs=self._inputs(client, spec),
                settings=PipelineJobSettings(default_compute=spec.compute)))

    def state(self, workspace: str, name: str) -> JobState | None:
        """The job as it is now; of a failed one, with what run history says of it."""
        with self._asking(workspace, f"read job {workspace}/{name}") as client:
            found = _or_none(client, name)
        if found is None:
            return None
        state = JobState(name=name, status=word(found.status) or "NotStarted")
        if state.status == "Failed":
            run = self._history.run(self._connections.workspace(workspace), name)
            state = state.model_copy(update={"message": failure(run or {})})
        return state

    def cancel(self, workspace: str, name: str) -> None:
        """Ask for the end of a job; absent, or over, is fine."""
        state = self.state(workspace, name)
        if state is None or state.terminal:
            return
        with self._asking(workspace, f"cancel job {workspace}/{name}") as client:
            client.jobs.begin_cancel(name, polling=False)

    def _inputs(self, client: MLClient, spec: JobSpec) -> dict[str, Any]:
        """The inputs as the component declares them: assets by id, literals by their type."""
        home = self._connections.registry(spec.component.registry) if spec.component.registry else client
        component = home.components.get(name=spec.component.name, version=spec.component.version)
        if component.type != "pipeline":
            raise InvalidInput(f"{spec.component} is a {component.type} component; a job runs a pipeline component")
        declared: Mapping[str, Any] = component.inputs or {}
        if unknown := sorted(set(spec.inputs) - set(declared)):
            raise InvalidInput(f"{spec.component} declares no input {', '.join(unknown)} (it has {', '.join(sorted(declared))})")
        missing = sorted(name for name, wanted in declared.items()
                         if name not in spec.inputs and not wanted.optional and wanted.default is None)
        if missing:
            raise InvalidInput(f"{spec.component} needs the input {', '.join(missing)}: set it under on_drift.inputs")
        return {name: _input(name, declared[name].type, text) for name, text in spec.inputs.items()}

    @contextmanager
    def _asking(self, workspace: str, what: str) -> Iterator[MLClient]:
        client = self._connections.workspace(workspace).client
        with azure_errors(what, WORKSPACE_ROLE, conflict=Busy):
            yield client


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
