"""MLflow's runs: the same runs that the job service keeps, so that a job's metrics are in its own run.

A run that a client makes is `tracked`: its status is what the client says. A job's run is moved by the platform alone;
what a client in it says of its status changes nothing, as in Azure ML.
"""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from emulator.azure_ml.jobs.measurements import Metric, ParameterChanged
from emulator.azure_ml.jobs.runs import TRACKED, Run, experiment_id
from emulator.azure_ml.mlflow import filters
from emulator.azure_ml.mlflow.calls import Call, Json, Table
from emulator.azure_ml.mlflow.errors import invalid, missing
from emulator.azure_ml.mlflow.experiments import Experiments, read_tags, view
from emulator.azure_ml.mlflow.fields import Fields, paged
from emulator.azure_ml.mlflow.run_view import NAME, PARENT, metric_shown, run_info, run_shown, tags_shown
from emulator.azure_ml.resource import Scope

if TYPE_CHECKING:
    from emulator.azure_ml.service import AzureMl

_OURS = {"RUNNING": "Running", "SCHEDULED": "NotStarted", "FINISHED": "Completed", "FAILED": "Failed", "KILLED": "Canceled"}
_NUMBERED = {"1": "RUNNING", "2": "SCHEDULED", "3": "FINISHED", "4": "FAILED", "5": "KILLED"}
_COMPUTED = frozenset({PARENT, NAME, "mlflow.rootRunId"})
_KEY, _PARAM, _BATCH = 250, 6000, 1000
"""Longest key, longest parameter, most entries of a batch: MLflow's own limits."""


class Runs:
    def __init__(self, azure_ml: AzureMl, experiments: Experiments) -> None:
        self._azure_ml = azure_ml
        self._experiments = experiments
        self._kept = azure_ml.jobs.runs
        self._measured = azure_ml.jobs.measurements

    def table(self) -> Table:
        return {
            "POST runs/create": self.create,
            "GET runs/get": self.get,
            "POST runs/update": self.update,
            "POST runs/delete": self.delete,
            "POST runs/restore": self.restore,
            "POST runs/search": self.search,
            "POST runs/log-metric": self.log_metric,
            "POST runs/log-parameter": self.log_parameter,
            "POST runs/log-batch": self.log_batch,
            "POST runs/log-model": self.log_model,
            "POST runs/log-inputs": self.log_inputs,
            "POST runs/outputs": self.log_outputs,
            "POST runs/set-tag": self.set_tag,
            "POST runs/delete-tag": self.delete_tag,
            "GET metrics/get-history": self.history,
        }

    def find(self, call: Call) -> Run:
        return self.named(call.scope, call.fields.text("run_id", "run_uuid"))

    def named(self, scope: Scope, name: str) -> Run:
        found = self._kept.find(scope.id, name)
        if found is None:
            raise missing(f"Run with id={name} not found")
        return found

    async def create(self, call: Call) -> Json:
        experiment = self._experiments.find(call.scope, call.fields.optional("experiment_id") or "0")
        if experiment.deleted:
            raise invalid(f"The experiment {experiment.id} must be in the 'active' state. Current state is deleted.")
        tags = read_tags(call, "tags")
        parent = self.named(call.scope, tags[PARENT]) if tags.get(PARENT) else None
        name = str(uuid.uuid4())
        run = Run(
            scope_id=call.scope.id,
            name=name,
            kind=TRACKED,
            spec={"values": {}, "outputs": {}},
            created_by={"object_id": call.caller.object_id, "name": call.caller.name},
            created=self._kept.now(),
            experiment=experiment.name,
            display_name=call.fields.optional("run_name") or tags.get(NAME) or name,
            parent=parent.name if parent else None,
            root=(parent.root or parent.name) if parent else name,
            status="Running",
            started=_iso(call.fields.integer("start_time")) if call.fields.given("start_time") else self._kept.now(),
            tags={key: value for key, value in tags.items() if key not in _COMPUTED},
        )
        return {"run": run_shown(self._kept.add(run, call.scope), self._measured)}

    async def get(self, call: Call) -> Json:
        return {"run": run_shown(self.find(call), self._measured)}

    async def update(self, call: Call) -> Json:
        run = self.find(call)
        status = _NUMBERED.get(asked := call.fields.word("status", "").upper(), asked)
        if status and status not in _OURS:
            raise invalid(f"Invalid value {status!r} for parameter 'status': one of {', '.join(_OURS)}.")
        name = call.fields.optional("run_name")
        ended = _iso(call.fields.integer("end_time")) if call.fields.given("end_time") else None
        with self._azure_ml.store.transaction():
            if status and run.kind == TRACKED:
                run = self._kept.set_status(run, call.scope, _OURS[status])

            def change(current: Run) -> None:
                current.display_name = name or current.display_name
                if ended and current.kind == TRACKED and current.terminal:
                    current.ended = ended

            run = self._kept.change(run, change)
        return {"run_info": run_info(run)}

    async def delete(self, call: Call) -> Json:
        """A deleted run is an archived one: it can be restored, and jobs that are archived are deleted here."""
        return self._set_hidden(call, hidden=True)

    async def restore(self, call: Call) -> Json:
        return self._set_hidden(call, hidden=False)

    async def search(self, call: Call) -> Json:
        limit, offset = call.fields.page(1000, 50_000)
        clauses = filters.parse(call.fields.optional("filter") or "", filters.RUNS)
        wanted, order = view(call, "run_view_type"), call.fields.texts("order_by")
        within = {self._experiments.find(call.scope, one).id for one in call.fields.texts("experiment_ids")}
        candidates = [run for run in self._kept.all(call.scope.id) if experiment_id(run) in within and run.hidden in wanted]
        # Newest first by start, as MLflow has it where nothing else is asked.
        candidates.sort(key=lambda run: run.started or run.created, reverse=True)
        found = [run for run in candidates if filters.matching(clauses, self._item(run, call.scope))]
        found = filters.ordered(found, order, filters.RUNS, lambda run: self._item(run, call.scope))
        page, following = paged(found, limit, offset)
        return {"runs": [run_shown(run, self._measured) for run in page], **following}

    async def log_metric(self, call: Call) -> Json:
        metric = self._metric(call.fields)
        self._measured.log(call.scope.id, self.find(call).name, [metric])
        return {}

    async def log_parameter(self, call: Call) -> Json:
        parameter = _parameter(call.fields)
        return self._log(call, [], [parameter], {})

    async def log_batch(self, call: Call) -> Json:
        metrics = [self._metric(fields) for fields in call.fields.objects("metrics", most=_BATCH)]
        params = [_parameter(fields) for fields in call.fields.objects("params", most=100)]
        tags = read_tags(call, "tags")
        if len(metrics) + len(params) + len(tags) > _BATCH:
            raise invalid(f"A batch logging request can contain at most {_BATCH} metrics, params, and tags.")
        return self._log(call, metrics, params, tags)

    async def log_model(self, call: Call) -> Json:
        """Keeps what the model says of itself in the tag where MLflow's own server keeps it."""
        text = call.fields.text("model_json")
        try:
            model = json.loads(text)
        except (ValueError, RecursionError):
            model = None
        if not isinstance(model, dict):
            raise invalid("Invalid value for parameter 'model_json': it must be a JSON object.")
        models = "mlflow.log-model.history"

        def change(run: Run) -> None:
            try:
                kept = json.loads(run.tags.get(models, "[]"))
            except (ValueError, RecursionError):
                kept = None
            if not isinstance(kept, list):
                raise invalid(f"The tag {models} of run {run.name} is not a JSON list: delete it and log the model again.")
            run.tags[models] = json.dumps([*kept, model])

        self._kept.change(self.find(call), change)
        return {}

    async def log_inputs(self, call: Call) -> Json:
        datasets = [fields.object("dataset") for fields in call.fields.objects("datasets")]
        models = [{"model_id": fields.text("model_id")} for fields in call.fields.objects("models")]

        def change(run: Run) -> None:
            run.body.setdefault("mlflow.datasets", []).extend({"dataset": one, "tags": []} for one in datasets)
            run.body.setdefault("mlflow.models", []).extend(models)

        self._kept.change(self.find(call), change)
        return {}

    async def log_outputs(self, call: Call) -> Json:
        models = [
            {"model_id": fields.text("model_id"), "step": fields.integer("step", 0)} for fields in call.fields.objects("models")
        ]
        self._kept.change(self.find(call), lambda run: run.body.setdefault("mlflow.outputs", []).extend(models))
        return {}

    async def set_tag(self, call: Call) -> Json:
        key, value = call.fields.text("key", longest=_KEY), call.fields.text("value", longest=8000, empty=True)
        return self._log(call, [], [], {key: value})

    async def delete_tag(self, call: Call) -> Json:
        key = call.fields.text("key")

        def change(run: Run) -> None:
            if run.tags.pop(key, None) is None:
                raise missing(f"No tag with name: {key} in run with id {run.name}")

        self._kept.change(self.find(call), change)
        return {}

    async def history(self, call: Call) -> Json:
        run, key = self.find(call), call.fields.text("metric_key")
        limit, offset = call.fields.page(25_000, 25_000)
        found = self._measured.history(call.scope.id, run.name, key, offset, limit + 1)
        following = {"next_page_token": str(offset + limit)} if len(found) > limit else {}
        return {"metrics": [metric_shown(metric) for metric in found[:limit]], **following}

    def _item(self, run: Run, scope: Scope) -> filters.Item:
        info = run_info(run)

        def value(entity: str, key: str) -> Any:
            match entity:
                case "metric":
                    return next((one.value for one in self._measured.latest(scope.id, run.name) if one.key == key), None)
                case "param":
                    return self._measured.params(scope.id, run.name).get(key)
                case "tag":
                    return tags_shown(run).get(key)
            return info.get(key)

        return value

    def _metric(self, fields: Fields) -> Metric:
        return Metric(
            fields.text("key", longest=_KEY), fields.number("value"),
            fields.integer("timestamp", self._kept.milliseconds()), fields.integer("step", 0),
        )  # fmt: skip

    def _log(self, call: Call, metrics: list[Metric], params: list[tuple[str, str]], tags: dict[str, str]) -> Json:
        """All of it or nothing."""
        run = self.find(call)
        try:
            with self._azure_ml.store.transaction():
                self._measured.log(call.scope.id, run.name, metrics, params)
                if tags:
                    self._kept.change(run, lambda current: _set_tags(current, tags))
        except ParameterChanged as refusal:
            key, kept, asked = refusal.args
            raise invalid(
                f"Changing param values is not allowed. Param with key='{key}' was already logged with value='{kept}'"
                f" for run ID='{run.name}'. Attempted logging new value '{asked}'."
            ) from None
        return {}

    def _set_hidden(self, call: Call, *, hidden: bool) -> Json:
        def change(run: Run) -> None:
            run.hidden = hidden

        self._kept.change(self.find(call), change)
        return {}


def _set_tags(run: Run, tags: dict[str, str]) -> None:
    if tags.get(NAME):
        run.display_name = tags[NAME]
    run.tags.update({key: value for key, value in tags.items() if key not in _COMPUTED})


def _parameter(fields: Fields) -> tuple[str, str]:
    return fields.text("key", longest=_KEY), fields.text("value", longest=_PARAM, empty=True)


def _iso(milliseconds: int) -> str:
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        raise invalid(f"Invalid value {milliseconds} for a time: it must be milliseconds since 1970.") from None
