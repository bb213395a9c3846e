"""From the body of a job request to what will be executed: everything that can be wrong is found here.

The result is a tree that stands for itself: components are copied into it, labels are resolved to
versions and data assets to addresses, so that a job goes on after a restart, and means the same, whatever
is registered in the meantime. A command's specification:

    {"kind": "command", "command", "code": {"id", "uri"}, "environment", "component", "inputs": {name: definition},
     "outputs": {name: definition}, "environment_variables", "timeout" (seconds or None)}

and a pipeline's, whose steps hold a specification each and what their inputs and outputs are bound to:

    {"kind": "pipeline", "component", "inputs", "outputs", "continue_on_failure",
     "steps": {name: {"spec", "inputs": {name: bound}, "outputs": {name: options}}}}

A bound input is `{"literal"}`, `{"uri", "type"}`, `{"parent": input}` or `{"step", "output"}`, each with an
optional `mode`; an output's options are `{"parent": output}`, `{"uri"}`, `{"mode"}` and `{"asset"}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emulator.azure_ml import naming
from emulator.azure_ml.errors import AzureMlError
from emulator.azure_ml.jobs import expressions
from emulator.azure_ml.jobs.bindings import order
from emulator.azure_ml.jobs.data import output_uri
from emulator.azure_ml.jobs.definitions import (
    DATA_TYPES,
    MODEL_TYPES,
    InvalidJob,
    check_literal,
    kind_of,
    output_options,
    read_definition,
    seconds,
    text_of,
)
from emulator.azure_ml.locations import Locations
from emulator.azure_ml.resource import Scope

Json = dict[str, Any]

_ADDRESSES = ("azureml://datastores/", "azureml://subscriptions/", "azureml://jobs/", "https://", "wasbs://", "runs:/")
_MAX_DEPTH = 10


class Submission:
    """Resolves one job of a workspace."""

    def __init__(self, scope: Scope, locations: Locations) -> None:
        self._scope = scope
        self._locations = locations

    def job(self, properties: Json) -> tuple[Json, Json]:
        """The specification of a command or pipeline job and the values of its inputs."""
        match str(properties.get("jobType", "")).lower():
            case "command":
                spec = self._command_job(properties)
            case "pipeline":
                spec = self._pipeline_job(properties)
            case other:
                raise InvalidJob(f"Jobs of type {other or 'unknown'} are not run by this platform (Command and Pipeline are).")
        bound = {name: self._bound(name, value) for name, value in (properties.get("inputs") or {}).items()}
        for name, value in bound.items():
            if "parent" in value or "step" in value:
                raise InvalidJob(f"The job's input {name} has no parent to be bound to.")
        values = self._checked(spec["inputs"], bound, "The job")
        spec["outputs"] = {**spec["outputs"], **self._job_outputs(spec, properties.get("outputs") or {})}
        return spec, values

    def component(self, text: str, depth: int = 0) -> Json:
        """The specification of a registered component."""
        if depth > _MAX_DEPTH:
            raise InvalidJob(f"Pipeline components are nested more than {_MAX_DEPTH} deep at {text}.")
        owner, resource = self._asset(text, "components", self._scope)
        body = resource["properties"].get("componentSpec") or {}
        spec = self.specification(body, owner, depth)
        return {**spec, "component": resource["id"], "display_name": body.get("display_name") or body.get("name")}

    def specification(self, body: Json, owner: Scope, depth: int = 0) -> Json:
        """The specification of a component's definition; short names in it are of `owner`."""
        kind = str(body.get("type", "")).lower()
        if kind.startswith("command"):
            return self._command(body, owner)
        if kind.startswith("pipeline"):
            return Submission(owner, self._locations)._pipeline(body, body.get("jobs") or {}, depth + 1)
        raise InvalidJob(f"Components of type {kind or 'unknown'} are not run by this platform (command and pipeline are).")

    def _command_job(self, properties: Json) -> Json:
        inputs = {
            name: {"type": kind_of(value, "jobInputType"), "mode": value.get("mode") if isinstance(value, dict) else None}
            for name, value in (properties.get("inputs") or {}).items()
        }
        body = {
            "command": properties.get("command"),
            "code": properties.get("codeId"),
            "environment": properties.get("environmentId"),
            "environment_variables": properties.get("environmentVariables"),
            "limits": properties.get("limits"),
            "inputs": inputs,
            "outputs": {
                name: {"type": kind_of(value, "jobOutputType", "uri_folder")}
                for name, value in (properties.get("outputs") or {}).items()
            },
        }
        return self._command(body, self._scope)

    def _pipeline_job(self, properties: Json) -> Json:
        settings = properties.get("settings") or {}
        if properties.get("componentId"):
            spec = self.component(str(properties["componentId"]))
            if spec["kind"] != "pipeline":
                raise InvalidJob(f"{properties['componentId']} is not a pipeline component.")
        else:
            inputs = properties.get("inputs") or {}
            definitions = {name: {"type": kind_of(value, "jobInputType")} for name, value in inputs.items()}
            outputs = properties.get("outputs") or {}
            body = {
                "inputs": definitions,
                "outputs": {name: {"type": kind_of(value, "jobOutputType", "uri_folder")} for name, value in outputs.items()},
            }
            spec = self._pipeline(body, properties.get("jobs") or {}, 0)
        proceed = settings.get("continue_on_step_failure", settings.get("ContinueRunOnStepFailure", False))
        return {**spec, "continue_on_failure": proceed is True or str(proceed).lower() == "true"}

    def _command(self, body: Json, home: Scope) -> Json:
        command = body.get("command")
        if not isinstance(command, str) or not command.strip():
            raise InvalidJob("A command must not be empty.")
        code = body.get("code")
        if code:
            _, resource = self._asset(str(code), "codes", home)
            code = {"id": resource["id"], "uri": resource["properties"]["codeUri"]}
        if not body.get("environment"):
            raise InvalidJob("A command needs an environment.")
        _, environment = self._asset(str(body["environment"]), "environments", home)
        inputs, outputs = dict(body.get("inputs") or {}), dict(body.get("outputs") or {})
        wanted_inputs, wanted_outputs = expressions.references(command)
        unknown = sorted(wanted_inputs - set(inputs)) + sorted(wanted_outputs - set(outputs))
        if unknown:
            raise InvalidJob(f"The command refers to {', '.join(unknown)}, which is not among its inputs and outputs.")
        return {
            "kind": "command",
            "command": command,
            "code": code,
            "environment": environment["id"],
            "component": None,
            "inputs": {name: read_definition(value) for name, value in inputs.items()},
            "outputs": {name: read_definition(value) for name, value in outputs.items()},
            "environment_variables": {k: str(v) for k, v in (body.get("environment_variables") or {}).items()},
            "timeout": seconds((body.get("limits") or {}).get("timeout")),
        }

    def _pipeline(self, body: Json, jobs: Mapping[str, Json], depth: int) -> Json:
        if not jobs:
            raise InvalidJob("A pipeline needs at least one step.")
        inputs = {name: read_definition(value) for name, value in (body.get("inputs") or {}).items()}
        outputs = {name: read_definition(value) for name, value in (body.get("outputs") or {}).items()}
        steps = {name: self._step(name, job, inputs, depth) for name, job in jobs.items()}
        for name, step in steps.items():
            for input_name, bound in step["inputs"].items():
                if "step" in bound:
                    source = steps.get(bound["step"])
                    if source is None or bound["output"] not in source["spec"]["outputs"]:
                        raise InvalidJob(f"{name}.inputs.{input_name} is bound to {bound['step']}.outputs.{bound['output']}, "
                                         "which does not exist.")
            for output_name, options in step["outputs"].items():
                if options.get("parent") is not None and options["parent"] not in outputs:
                    raise InvalidJob(f"{name}.outputs.{output_name} is bound to the unknown output {options['parent']}.")
        order(steps)
        return {"kind": "pipeline", "component": None, "inputs": inputs, "outputs": outputs, "steps": steps,
                "continue_on_failure": False}

    def _step(self, name: str, job: Json, parents: Json, depth: int) -> Json:
        component = job.get("componentId") or job.get("component")
        if not isinstance(component, str):
            raise InvalidJob(f"Step {name} names no component.")
        spec = self.component(component, depth)
        if job.get("environment_variables") and spec["kind"] == "command":
            overrides = {key: str(value) for key, value in job["environment_variables"].items()}
            spec["environment_variables"] = {**spec["environment_variables"], **overrides}
        if (job.get("limits") or {}).get("timeout"):
            spec["timeout"] = seconds(job["limits"]["timeout"])
        bound = {key: self._bound(f"{name}.{key}", value) for key, value in (job.get("inputs") or {}).items()}
        for key, value in bound.items():
            if "parent" in value and value["parent"] not in parents:
                raise InvalidJob(f"{name}.inputs.{key} is bound to the unknown input {value['parent']} of the pipeline.")
        for key, value in list(bound.items()):
            # An optional input of the pipeline may leave the step's without a value, which only an optional one can bear.
            if "parent" in value and parents[value["parent"]].get("optional"):
                definition = spec["inputs"].get(key, {})
                if definition and not definition.get("optional") and definition.get("default") is None:
                    raise InvalidJob(f"{name}.inputs.{key} is required, but the pipeline's {value['parent']} is optional.")
        inputs = self._checked(spec["inputs"], bound, f"Step {name}")
        outputs = {key: output_options(value) for key, value in (job.get("outputs") or {}).items()}
        for key, options in outputs.items():
            self._check_output(f"{name}.outputs.{key}", options)
        unknown = sorted(set(outputs) - set(spec["outputs"]))
        if unknown:
            raise InvalidJob(f"Step {name} has no output {', '.join(unknown)}.")
        return {"spec": spec, "inputs": inputs, "outputs": outputs}

    def _job_outputs(self, spec: Json, given: Mapping[str, Any]) -> Json:
        """What the request says about the job's own outputs, over what the component says."""
        merged = {}
        for name, value in given.items():
            if name not in spec["outputs"]:
                raise InvalidJob(f"The job has no output {name}.")
            options = output_options(value)
            self._check_output(f"outputs.{name}", options)
            merged[name] = {**spec["outputs"][name], **options}
        return merged

    def _check_output(self, name: str, options: Json) -> None:
        """Refuse an output that could not be written or registered once the command has run."""
        try:
            if options.get("uri"):
                self._locations.blob(output_uri(name, options, "job"), self._scope)
            if asset := options.get("asset"):
                naming.check_asset(asset["name"], str(asset["version"]) if asset.get("version") else None)
        except AzureMlError as refusal:
            raise InvalidJob(f"{name}: {refusal.message}") from refusal

    def _bound(self, name: str, value: Any) -> Json:
        """One input as it was written: an object, or a literal by itself."""
        if not isinstance(value, dict):
            value = {"value": value}
        raw = value.get("value", value.get("uri", value.get("path")))
        mode = {"mode": value["mode"]} if value.get("mode") else {}
        if raw is None:
            raise InvalidJob(f"The input {name} has neither value nor uri.")
        found = expressions.binding(raw)
        if found is not None:
            if found.parent_output is not None:
                raise InvalidJob(f"The input {name} can't be bound to an output of the pipeline.")
            if found.parent_input is not None:
                return {"parent": found.parent_input, **mode}
            return {"step": found.step, "output": found.output, **mode}
        kind = kind_of(value, "job_input_type", kind_of(value, "jobInputType"))
        if kind in DATA_TYPES:
            return {**self.address(str(raw), kind), **mode}
        return {"literal": text_of(raw)}

    def address(self, text: str, kind: str) -> Json:
        """Where a data input lies: `{"uri", "type"}`, and `asset` and its `scope` when it is a registered one."""
        if text.startswith(_ADDRESSES):
            self._locations.blob(text, self._scope)
            return {"uri": text, "type": kind}
        # A model may be read as a folder, and a folder that is data may hold a model.
        owner, resource = self._asset(text, "models" if kind in MODEL_TYPES else "data", self._scope, "models", "data")
        properties = resource["properties"]
        uri = properties.get("modelUri") or properties.get("dataUri")
        return {"uri": uri, "type": kind, "asset": resource["id"], "scope": owner.id}

    def _asset(self, text: str, plural: str, home: Scope, *allowed: str) -> tuple[Scope, Json]:
        """The version of an asset; an id that names its own kind must name one that is `allowed` (`plural` alone, if none is given)."""
        owner, resource = self._locations.asset(text, plural, home)
        found = str(resource["type"]).split("/")[-2]
        if found not in (allowed or (plural,)):
            raise InvalidJob(f"{text} is one of {found}, not of {' or '.join(allowed or (plural,))}.")
        return owner, resource

    def _checked(self, definitions: Json, bound: Json, whose: str) -> Json:
        """The inputs with defaults filled in; missing, unknown and ill-typed ones are refused."""
        if unknown := sorted(set(bound) - set(definitions)):
            raise InvalidJob(f"{whose} has no input {', '.join(unknown)}.")
        checked = {}
        for name, definition in definitions.items():
            value = bound.get(name)
            if value is None:
                if definition.get("default") is not None:
                    checked[name] = {"literal": text_of(definition["default"])}
                elif not definition.get("optional"):
                    raise InvalidJob(f"{whose} needs its input {name}.")
                continue
            if "literal" in value:
                check_literal(name, value["literal"], definition)
            elif "uri" in value and definition["type"] not in DATA_TYPES:
                raise InvalidJob(f"{whose}: input {name} is a {definition['type']}, not data.")
            checked[name] = value
        return checked
