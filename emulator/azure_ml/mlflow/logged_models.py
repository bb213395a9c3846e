"""MLflow 3's logged models: what `log_model` makes before anything is registered.

A model that a run logs lies among the run's artifacts under its name, so that `runs:/<run>/<name>` finds it in every
version of MLflow and through Azure ML's own paths. Azure ML has no such resource in its API; it is kept here so that
an unmodified MLflow 3 client can log a model.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from emulator.azure_ml.jobs.runs import experiment_id
from emulator.azure_ml.mlflow import filters
from emulator.azure_ml.mlflow.artifacts import SCHEME, Artifacts, checked
from emulator.azure_ml.mlflow.calls import Call, Json, Table
from emulator.azure_ml.mlflow.errors import invalid, missing
from emulator.azure_ml.mlflow.experiments import Experiments, key_values, read_tags
from emulator.azure_ml.mlflow.fields import Fields, paged
from emulator.azure_ml.mlflow.run_view import artifact_uri
from emulator.azure_ml.mlflow.runs import Runs
from emulator.azure_ml.resource import Scope
from emulator.azure_ml.store import UnknownResource

if TYPE_CHECKING:
    from emulator.azure_ml.service import AzureMl

_STATUS = {"1": "LOGGED_MODEL_PENDING", "2": "LOGGED_MODEL_READY", "3": "LOGGED_MODEL_UPLOAD_FAILED"}
_ORDER = {"creation_timestamp", "creation_time", "last_updated_timestamp", "last_updated_time", "name"}


class LoggedModels:
    def __init__(self, azure_ml: AzureMl, experiments: Experiments, runs: Runs, artifacts: Artifacts) -> None:
        self._azure_ml = azure_ml
        self._experiments = experiments
        self._runs = runs
        self._artifacts = artifacts

    def table(self) -> Table:
        return {
            "POST logged-models": self.create,
            "POST logged-models/search": self.search,
            "GET logged-models/*": self.get,
            "PATCH logged-models/*": self.finalize,
            "DELETE logged-models/*": self.delete,
            "PATCH logged-models/*/tags": self.set_tags,
            "DELETE logged-models/*/tags/*": self.delete_tag,
            "POST logged-models/*/params": self.log_params,
            "GET logged-models/*/artifacts/directories": self.list_artifacts,
        }

    def find(self, scope: Scope, identifier: str) -> Json:
        found = self._azure_ml.store.get(self._id(scope, identifier))
        if found is None:
            raise missing(f"Logged model with ID '{identifier}' not found.")
        return found["model"]

    async def create(self, call: Call) -> Json:
        identifier = f"m-{uuid.uuid4().hex}"
        experiment = self._experiments.find(call.scope, call.fields.optional("experiment_id") or "0").id
        name = checked(call.fields.optional("name", longest=500) or identifier)
        source = call.fields.optional("source_run_id")
        place = f"{SCHEME}LoggedModels/{identifier}"
        if source:
            run = self._runs.named(call.scope, source)
            experiment = experiment_id(run)
            taken = {model["artifact_uri"] for model in self._all(call.scope)}
            place = f"{artifact_uri(run)}/{name}"
            place = f"{place}-{identifier}" if place in taken else place
        now = self._now()
        model = {
            "model_id": identifier, "experiment_id": experiment, "name": name, "artifact_uri": place,
            "creation_timestamp_ms": now, "last_updated_timestamp_ms": now, "status": "LOGGED_MODEL_PENDING",
            "model_type": call.fields.optional("model_type") or "", "source_run_id": source or "",
            "tags": read_tags(call, "tags"), "params": _params(call.fields),
        }  # fmt: skip
        self._azure_ml.store.put(self._id(call.scope, identifier), {"id": self._id(call.scope, identifier), "model": model})
        return {"model": _shown(model)}

    async def get(self, call: Call) -> Json:
        return {"model": _shown(self.find(call.scope, call.names[0]))}

    async def finalize(self, call: Call) -> Json:
        asked = call.fields.word("status", "")
        status = _STATUS.get(asked, asked)
        if status not in ("LOGGED_MODEL_READY", "LOGGED_MODEL_UPLOAD_FAILED"):
            raise invalid(f"Invalid value {asked!r} for parameter 'status': LOGGED_MODEL_READY or LOGGED_MODEL_UPLOAD_FAILED.")
        return {"model": _shown(self._change(call, lambda model: model.update(status=status)))}

    async def delete(self, call: Call) -> Json:
        self.find(call.scope, call.names[0])
        self._azure_ml.store.delete(self._id(call.scope, call.names[0]))
        return {}

    async def search(self, call: Call) -> Json:
        limit, offset = call.fields.page(100, 1000)
        clauses = filters.parse(call.fields.optional("filter") or "", filters.LOGGED_MODELS)
        within = {self._experiments.find(call.scope, one).id for one in call.fields.texts("experiment_ids")}
        order = []
        for fields in call.fields.objects("order_by"):
            name = fields.text("field_name")
            if name not in _ORDER:
                raise invalid(f"Invalid order_by field name {name!r}: one of {', '.join(sorted(_ORDER))}.")
            order.append(f"{name} {'ASC' if fields.boolean('ascending', default=True) else 'DESC'}")
        found = [
            model for model in reversed(self._all(call.scope))
            if model["experiment_id"] in within and filters.matching(clauses, _item(model))
        ]  # fmt: skip
        page, following = paged(filters.ordered(found, order, filters.LOGGED_MODELS, _item), limit, offset)
        return {"models": [_shown(model) for model in page], **following}

    async def set_tags(self, call: Call) -> Json:
        tags = read_tags(call, "tags")
        return {"model": _shown(self._change(call, lambda model: model["tags"].update(tags)))}

    async def delete_tag(self, call: Call) -> Json:
        def change(model: Json) -> None:
            if model["tags"].pop(call.names[1], None) is None:
                raise missing(f"No tag with key {call.names[1]!r} for model {call.names[0]}.")

        self._change(call, change)
        return {}

    async def log_params(self, call: Call) -> Json:
        params = _params(call.fields)
        self._change(call, lambda model: model["params"].update(params))
        return {}

    async def list_artifacts(self, call: Call) -> Json:
        model = self.find(call.scope, call.names[0])
        path = call.fields.optional("artifact_directory_path") or ""
        root = model["artifact_uri"].removeprefix(SCHEME)
        inside = Fields({"path": f"{root}/{checked(path)}".rstrip("/")})
        listed = await self._artifacts.list_of_path(Call(call.scope, call.caller, inside))
        prefix = f"{checked(path)}/" if path else ""
        return {"root_uri": model["artifact_uri"], "files": [{**one, "path": prefix + one["path"]} for one in listed["files"]]}

    def _change(self, call: Call, change: Callable[[Json], None]) -> Json:
        def apply(resource: Json) -> None:
            change(resource["model"])
            resource["model"]["last_updated_timestamp_ms"] = self._now()

        try:
            return self._azure_ml.store.change(self._id(call.scope, call.names[0]), apply)["model"]
        except UnknownResource:
            raise missing(f"Logged model with ID '{call.names[0]}' not found.") from None

    def _all(self, scope: Scope) -> list[Json]:
        return [resource["model"] for resource in self._azure_ml.store.children(f"{scope.id}/loggedmodels")]

    def _id(self, scope: Scope, identifier: str) -> str:
        return f"{scope.id}/loggedmodels/{identifier}"

    def _now(self) -> int:
        return self._azure_ml.jobs.runs.milliseconds()


def _params(fields: Fields) -> dict[str, str]:
    return {one.text("key", longest=250): one.text("value", longest=6000, empty=True) for one in fields.objects("params", most=100)}


def _item(model: Json) -> filters.Item:
    def value(entity: str, key: str) -> Any:
        match entity:
            case "tag":
                return model["tags"].get(key)
            case "param":
                return model["params"].get(key)
            case "metric":
                return None
        return model.get(f"{key}_ms" if key.endswith("timestamp") else key)

    return value


def _shown(model: Json) -> Json:
    info = {key: value for key, value in model.items() if key not in ("tags", "params")}
    return {
        "info": {**info, "tags": key_values(model["tags"])},
        "data": {"params": key_values(model["params"]), "metrics": []},
    }
