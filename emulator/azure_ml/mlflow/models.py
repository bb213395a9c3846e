"""MLflow's model registry: another door to the models that Azure Resource Manager serves.

A registered model is the container `models/<name>`, a model version is `models/<name>/versions/<v>` of type
`mlflow_model`; registering one emits `ModelRegistered`, and its `jobName` is the run it came from. Aliases and the
source as the client wrote it are kept beside, under keys that Azure Resource Manager doesn't show.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from emulator.azure_ml import naming
from emulator.azure_ml.asset_kinds import MODELS
from emulator.azure_ml.errors import AzureMlError
from emulator.azure_ml.mlflow import filters
from emulator.azure_ml.mlflow.artifacts import SCHEME, model_uri
from emulator.azure_ml.mlflow.calls import Call, Json, Table
from emulator.azure_ml.mlflow.errors import exists, invalid, missing
from emulator.azure_ml.mlflow.experiments import read_tags
from emulator.azure_ml.mlflow.fields import paged
from emulator.azure_ml.mlflow.logged_models import LoggedModels
from emulator.azure_ml.mlflow.model_view import (
    LOGGED_MODEL,
    SOURCE,
    STAGES,
    model_item,
    model_shown,
    stage_named,
    stage_of,
    version_item,
    version_shown,
)
from emulator.azure_ml.registration import ALIASES, put_container, register, remove_version
from emulator.azure_ml.resource import Scope
from emulator.azure_ml.store import Resource
from emulator.azure_ml.system_data import stamp

if TYPE_CHECKING:
    from emulator.azure_ml.service import AzureMl

_STORE = "azureml://datastores/workspaceartifactstore/paths/"


class Models:
    def __init__(self, azure_ml: AzureMl, logged: LoggedModels) -> None:
        self._azure_ml = azure_ml
        self._store = azure_ml.store
        self._logged = logged

    def table(self) -> Table:
        return {
            "POST registered-models/create": self.create,
            "GET registered-models/get": self.get,
            "PATCH registered-models/update": self.update,
            "DELETE registered-models/delete": self.delete,
            "POST registered-models/rename": self.rename,
            "GET registered-models/search": self.search,
            "GET registered-models/list": self.search,
            "POST registered-models/get-latest-versions": self.latest,
            "GET registered-models/get-latest-versions": self.latest,
            "POST registered-models/set-tag": self.set_tag,
            "DELETE registered-models/delete-tag": self.delete_tag,
            "POST registered-models/alias": self.set_alias,
            "DELETE registered-models/alias": self.delete_alias,
            "GET registered-models/alias": self.by_alias,
            "POST model-versions/create": self.create_version,
            "GET model-versions/get": self.get_version,
            "PATCH model-versions/update": self.update_version,
            "DELETE model-versions/delete": self.delete_version,
            "GET model-versions/search": self.search_versions,
            "POST model-versions/transition-stage": self.transition,
            "POST model-versions/set-tag": self.set_version_tag,
            "DELETE model-versions/delete-tag": self.delete_version_tag,
            "GET model-versions/get-download-uri": self.download_uri,
        }

    # --- registered models ------------------------------------------------------------------------------

    async def create(self, call: Call) -> Json:
        name, tags, description = call.fields.text("name"), read_tags(call, "tags"), call.fields.optional("description")
        naming.check_asset(name)
        with self._store.transaction():
            if self._store.get(self._id(call.scope, name)) is not None:
                raise exists(f"Registered Model (name={name}) already exists.")
            made, _ = put_container(self._azure_ml, MODELS, call.scope, name, call.caller, {"tags": tags, "description": description})
        return {"registered_model": self._shown(call.scope, made)}

    async def get(self, call: Call) -> Json:
        return {"registered_model": self._shown(call.scope, self._model(call))}

    async def update(self, call: Call) -> Json:
        description = call.fields.optional("description")
        return {"registered_model": self._shown(call.scope, self._change(call, lambda one: _describe(one, description)))}

    async def delete(self, call: Call) -> Json:
        self._store.delete(self._id(call.scope, self._model(call)["name"]))
        return {}

    async def rename(self, call: Call) -> Json:
        if call.fields.text("new_name") != self._model(call)["name"]:
            raise invalid("Invalid value for parameter 'new_name': a registered model of Azure Machine Learning can't be renamed.")
        return await self.get(call)

    async def search(self, call: Call) -> Json:
        limit, offset = call.fields.page(100, 1000)
        clauses = filters.parse(call.fields.optional("filter") or "", filters.MODELS)
        order = call.fields.texts("order_by") or ["name"]
        found = [one for one in self._containers(call.scope) if filters.matching(clauses, model_item(one))]
        page, following = paged(filters.ordered(found, order, filters.MODELS, model_item), limit, offset)
        return {"registered_models": [self._shown(call.scope, one) for one in page], **following}

    async def latest(self, call: Call) -> Json:
        asked = {stage_named(stage) for stage in call.fields.texts("stages")} or set(STAGES.values())
        model = self._model(call)
        newest = {stage: one for one in self._versions(call.scope, model["name"]) if (stage := stage_of(one)) in asked}
        return {"model_versions": [version_shown(model, one) for one in newest.values()]}

    async def set_tag(self, call: Call) -> Json:
        key, value = call.fields.text("key", longest=250), call.fields.text("value", longest=5000, empty=True)
        self._change(call, lambda one: one["properties"]["tags"].update({key: value}))
        return {}

    async def delete_tag(self, call: Call) -> Json:
        key = call.fields.text("key")
        self._change(call, lambda one: one["properties"]["tags"].pop(key, None))
        return {}

    async def set_alias(self, call: Call) -> Json:
        alias, version = call.fields.text("alias", longest=255), self._version(call)["name"]
        if alias.lower() == "latest" or (alias[:1] in "vV" and alias[1:].isdecimal()):
            raise invalid(f"Invalid value {alias!r} for parameter 'alias': 'latest' and version numbers are reserved.")
        self._change(call, lambda one: one.setdefault(ALIASES, {}).update({alias: version}))
        return {}

    async def delete_alias(self, call: Call) -> Json:
        alias = call.fields.text("alias")
        self._change(call, lambda one: one.setdefault(ALIASES, {}).pop(alias, None))
        return {}

    async def by_alias(self, call: Call) -> Json:
        model, alias = self._model(call), call.fields.text("alias")
        version = model.get(ALIASES, {}).get(alias)
        found = self._store.get(f"{self._id(call.scope, model['name'])}/versions/{version}") if version else None
        if found is None:
            raise invalid(f"Registered model alias {alias} not found.")  # MLflow's own code for it
        return {"model_version": version_shown(model, found)}

    # --- their versions ---------------------------------------------------------------------------------

    async def create_version(self, call: Call) -> Json:
        model, source = self._model(call), call.fields.text("source")
        uri = self._place(call, source)
        run, model_id = call.fields.optional("run_id"), call.fields.optional("model_id")
        if run and self._azure_ml.jobs.runs.find(call.scope.id, run) is None:
            raise missing(f"Run with id={run} not found")
        given: Json = {
            "modelUri": uri, "modelType": "mlflow_model", "jobName": run or None,
            "description": call.fields.optional("description"), "tags": read_tags(call, "tags"),
        }  # fmt: skip
        beside = {SOURCE: source, LOGGED_MODEL: model_id}
        made, _ = await register(self._azure_ml, MODELS, call.scope, model["name"], None, given, call.caller, beside)
        return {"model_version": version_shown(model, made)}

    async def get_version(self, call: Call) -> Json:
        return {"model_version": version_shown(self._model(call), self._version(call))}

    async def update_version(self, call: Call) -> Json:
        description = call.fields.optional("description")
        return self._changed_version(call, lambda one: _describe(one, description))

    async def delete_version(self, call: Call) -> Json:
        model, version = self._model(call), self._version(call)
        remove_version(self._store, call.scope, MODELS, model["name"], version["name"])
        return {}

    async def search_versions(self, call: Call) -> Json:
        limit, offset = call.fields.page(10_000, 200_000)
        clauses = filters.parse(call.fields.optional("filter") or "", filters.VERSIONS)
        models = {one["name"]: one for one in self._containers(call.scope)}
        found = [
            (name, version) for name in models for version in reversed(self._versions(call.scope, name))
            if filters.matching(clauses, version_item(name, version))
        ]  # fmt: skip
        found = filters.ordered(found, call.fields.texts("order_by"), filters.VERSIONS, lambda pair: version_item(*pair))
        page, following = paged(found, limit, offset)
        return {"model_versions": [version_shown(models[name], version) for name, version in page], **following}

    async def transition(self, call: Call) -> Json:
        stage, archive = stage_named(call.fields.text("stage")), call.fields.boolean("archive_existing_versions")
        model, version = self._model(call), self._version(call)
        if archive and stage not in ("Staging", "Production"):
            raise invalid("Invalid value for parameter 'archive_existing_versions': only with the stages Staging and Production.")
        with self._store.transaction():
            if archive:
                for other in self._versions(call.scope, model["name"]):
                    if other["name"] != version["name"] and stage_of(other) == stage:
                        resource_id = f"{self._id(call.scope, model['name'])}/versions/{other['name']}"
                        self._store.change(resource_id, lambda one: one["properties"].update(stage="Archived"))
            return self._changed_version(call, lambda one: one["properties"].update(stage=None if stage == "None" else stage))

    async def set_version_tag(self, call: Call) -> Json:
        key, value = call.fields.text("key", longest=250), call.fields.text("value", longest=5000, empty=True)
        self._changed_version(call, lambda one: one["properties"]["tags"].update({key: value}))
        return {}

    async def delete_version_tag(self, call: Call) -> Json:
        key = call.fields.text("key")
        self._changed_version(call, lambda one: one["properties"]["tags"].pop(key, None))
        return {}

    async def download_uri(self, call: Call) -> Json:
        return {"artifact_uri": model_uri(self._model(call)["name"], self._version(call)["name"])}

    # --- below ------------------------------------------------------------------------------------------

    def _place(self, call: Call, source: str) -> str:
        """A version's source as Azure ML writes it; raises for one that it can't reach."""
        if source.startswith("models:/"):
            rest = source.removeprefix("models:/").strip("/")
            name, _, version = rest.partition("/")
            if not version:
                return self._place(call, self._logged.find(call.scope, name)["artifact_uri"])
            _, model = self._azure_ml.locations.asset(f"azureml:{name}:{version}", "models", call.scope)
            return str(model["properties"]["modelUri"])
        if source.startswith(f"{SCHEME}Models/"):
            name, _, version = source.removeprefix(f"{SCHEME}Models/").strip("/").partition("/")
            return self._place(call, f"models:/{name}/{version}")
        uri = _STORE + source.removeprefix(SCHEME).strip("/") if source.startswith(SCHEME) else source
        try:
            self._azure_ml.locations.blob(uri, call.scope)
        except AzureMlError as refusal:
            raise invalid(f"Invalid model version source: '{source}'. {refusal.message}") from refusal
        return uri

    def _id(self, scope: Scope, name: str) -> str:
        return f"{scope.id}/models/{name}"

    def _model(self, call: Call) -> Resource:
        name = call.fields.text("name")
        found = self._store.get(self._id(call.scope, name)) if "/" not in name else None
        if found is None:
            raise missing(f"Registered Model with name={name} not found")
        return found

    def _version(self, call: Call) -> Resource:
        name, version = call.fields.text("name"), call.fields.word("version", "")
        if not version:
            raise invalid("Missing value for required parameter 'version'.")
        found = self._store.get(f"{self._id(call.scope, name)}/versions/{version}") if "/" not in name + version else None
        if found is None:
            raise missing(f"Model Version (name={name}, version={version}) not found")
        return found

    def _containers(self, scope: Scope) -> list[Resource]:
        return [one for one in self._store.children(f"{scope.id}/models") if not one["properties"].get("isArchived")]

    def _versions(self, scope: Scope, name: str) -> list[Resource]:
        """Oldest first, archived ones left out."""
        found = self._store.children(f"{self._id(scope, name)}/versions")
        return [one for one in found if not one["properties"].get("isArchived")]

    def _change(self, call: Call, change: Callable[[Resource], object]) -> Resource:
        return self._apply(call, self._id(call.scope, self._model(call)["name"]), change)

    def _changed_version(self, call: Call, change: Callable[[Resource], object]) -> Json:
        model = self._model(call)
        resource_id = f"{self._id(call.scope, model['name'])}/versions/{self._version(call)['name']}"
        return {"model_version": version_shown(model, self._apply(call, resource_id, change))}

    def _apply(self, call: Call, resource_id: str, change: Callable[[Resource], object]) -> Resource:
        def apply(one: Resource) -> None:
            old = {**one}
            change(one)
            stamp(one, call.caller, self._azure_ml.context.clock.now(), old)

        return self._store.change(resource_id, apply)

    def _shown(self, scope: Scope, model: Resource) -> Json:
        return model_shown(model, self._versions(scope, model["name"]))


def _describe(resource: Resource, description: str | None) -> None:
    if description is not None:
        resource["properties"]["description"] = description
