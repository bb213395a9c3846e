"""MLflow's experiments: those that jobs run under, and those that a client makes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from emulator.azure_ml.jobs.experiments import DEFAULT, Experiment, experiment_id
from emulator.azure_ml.mlflow import filters
from emulator.azure_ml.mlflow.calls import Call, Json, Table
from emulator.azure_ml.mlflow.errors import exists, invalid, missing
from emulator.azure_ml.mlflow.fields import paged
from emulator.azure_ml.resource import Scope

if TYPE_CHECKING:
    from emulator.azure_ml.service import AzureMl

ARTIFACTS = "mlflow-artifacts:/ExperimentRun"
VIEWS = {"ACTIVE_ONLY": (False,), "DELETED_ONLY": (True,), "ALL": (False, True), "1": (False,), "2": (True,), "3": (False, True)}
"""`ViewType` by name or number, to what `deleted` may be."""
_DEFAULT_ALIAS = "0"
_PAGE, _LARGEST_PAGE = 1000, 50_000


class Experiments:
    def __init__(self, azure_ml: AzureMl) -> None:
        self._azure_ml = azure_ml
        self._runs = azure_ml.jobs.runs
        self._kept = azure_ml.jobs.runs.experiments

    def table(self) -> Table:
        return {
            "POST experiments/create": self.create,
            "GET experiments/get": self.get,
            "GET experiments/get-by-name": self.by_name,
            "POST experiments/search": self.search,
            "GET experiments/search": self.search,
            "GET experiments/list": self.search,
            "POST experiments/delete": self.delete,
            "POST experiments/restore": self.restore,
            "POST experiments/update": self.rename,
            "POST experiments/set-experiment-tag": self.set_tag,
            "POST experiments/delete-experiment-tag": self.delete_tag,
        }

    def find(self, scope: Scope, identifier: str) -> Experiment:
        """By id; `0` is the experiment of runs that name none, which is there from the first time it is asked for."""
        if identifier in (_DEFAULT_ALIAS, experiment_id(scope.id, DEFAULT)):
            self._kept.ensure(scope.id, DEFAULT, self._runs.milliseconds())
            identifier = experiment_id(scope.id, DEFAULT)
        found = self._kept.find(scope.id, identifier)
        if found is None:
            raise missing(f"No Experiment with id={identifier} exists")
        return found

    async def create(self, call: Call) -> Json:
        name = call.fields.text("name", longest=500)
        if name != name.strip():
            raise invalid("Invalid value for parameter 'name': an experiment's name has no space at its ends.")
        tags = read_tags(call, "tags")
        with self._azure_ml.store.transaction():
            if not self._kept.ensure(call.scope.id, name, self._runs.milliseconds()):
                raise exists(f"Experiment '{name}' already exists.")
            made = self._named(call.scope, name)
            made.tags = tags
            self._kept.save(call.scope.id, made)
        return {"experiment_id": made.id}

    async def get(self, call: Call) -> Json:
        return {"experiment": _shown(self.find(call.scope, call.fields.text("experiment_id")))}

    async def by_name(self, call: Call) -> Json:
        return {"experiment": _shown(self._named(call.scope, call.fields.text("experiment_name")))}

    async def search(self, call: Call) -> Json:
        limit, offset = call.fields.page(_PAGE, _LARGEST_PAGE)
        clauses = filters.parse(call.fields.optional("filter") or "", filters.EXPERIMENTS)
        wanted = view(call)
        self.find(call.scope, _DEFAULT_ALIAS)
        found = [
            one for one in self._kept.all(call.scope.id) if one.deleted in wanted and filters.matching(clauses, _item(one))
        ]
        found = filters.ordered(found, call.fields.texts("order_by"), filters.EXPERIMENTS, _item)
        page, following = paged(found, limit, offset)
        return {"experiments": [_shown(one) for one in page], **following}

    async def delete(self, call: Call) -> Json:
        return self._set_deleted(call, deleted=True)

    async def restore(self, call: Call) -> Json:
        return self._set_deleted(call, deleted=False)

    async def rename(self, call: Call) -> Json:
        found = self.find(call.scope, call.fields.text("experiment_id"))
        if call.fields.text("new_name") != found.name:
            raise invalid("Invalid value for parameter 'new_name': an experiment of Azure Machine Learning can't be renamed.")
        return {}

    async def set_tag(self, call: Call) -> Json:
        key, value = call.fields.text("key", longest=250), call.fields.text("value", longest=5000, empty=True)
        found = self.find(call.scope, call.fields.text("experiment_id"))
        found.tags[key] = value
        return self._save(call, found)

    async def delete_tag(self, call: Call) -> Json:
        found = self.find(call.scope, call.fields.text("experiment_id"))
        key = call.fields.text("key")
        if found.tags.pop(key, None) is None:
            raise missing(f"No tag with name: {key} in experiment with id {found.id}")
        return self._save(call, found)

    def _set_deleted(self, call: Call, *, deleted: bool) -> Json:
        found = self.find(call.scope, call.fields.text("experiment_id"))
        found.deleted = deleted
        return self._save(call, found)

    def _save(self, call: Call, experiment: Experiment) -> Json:
        experiment.changed = self._runs.milliseconds()
        self._kept.save(call.scope.id, experiment)
        return {}

    def _named(self, scope: Scope, name: str) -> Experiment:
        if name == DEFAULT:
            return self.find(scope, _DEFAULT_ALIAS)
        found = self._kept.find(scope.id, experiment_id(scope.id, name))
        if found is None:
            raise missing(f"Could not find experiment with name '{name}'")
        return found


def view(call: Call, name: str = "view_type") -> tuple[bool, ...]:
    """What `deleted` may be of what is searched for."""
    asked = call.fields.word(name, "ACTIVE_ONLY").upper()
    if asked not in VIEWS:
        raise invalid(f"Invalid value {asked!r} for parameter '{name}': one of ACTIVE_ONLY, DELETED_ONLY and ALL.")
    return VIEWS[asked]


def read_tags(call: Call, name: str) -> dict[str, str]:
    return {tag.text("key", longest=250): tag.text("value", longest=8000, empty=True) for tag in call.fields.objects(name, most=100)}


def key_values(values: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in values.items()]


def _item(experiment: Experiment) -> filters.Item:
    def value(entity: str, key: str) -> Any:
        if entity == "tag":
            return experiment.tags.get(key)
        return {
            "name": experiment.name,
            "experiment_id": experiment.id,
            "creation_time": experiment.created,
            "last_update_time": experiment.changed,
        }[key]

    return value


def _shown(experiment: Experiment) -> Json:
    return {
        "experiment_id": experiment.id,
        "name": experiment.name,
        "artifact_location": ARTIFACTS,
        "lifecycle_stage": "deleted" if experiment.deleted else "active",
        "creation_time": experiment.created,
        "last_update_time": experiment.changed,
        "tags": key_values(experiment.tags),
    }
