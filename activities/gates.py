"""Activities that measure: they send requests to a deployment and let `domain.gates` judge the answers."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator
from itertools import batched
from typing import Any

from activities.effect import effect
from pilotage.bootstrap import app
from pilotage.domain.assets import DataVersion
from pilotage.domain.gates import SampleAnswer, compute_metric, judge_metric, judge_smoke
from pilotage.domain.policy import MetricGate, SmokeGate
from pilotage.errors import InvalidInput
from pilotage.ports import Answer

DATA_LIMIT = 32 * 1024 * 1024
"""Bytes of gate data that a function reads; larger data belongs in an Azure ML job."""
BATCH = 500
"""Rows a scoring request: well under the endpoint's payload limit."""


@effect
def run_smoke(payload: dict) -> dict:
    """{"workspace", "endpoint", "name", "gate": SmokeGate, "data": DataVersion} -> {"result": GateResult}."""
    gate = SmokeGate.model_validate(payload["gate"])
    answers = [_sample(payload, request) for request in _requests(DataVersion.model_validate(payload["data"]))]
    return {"result": judge_smoke(gate, answers).model_dump(mode="json")}


@effect
def run_metric(payload: dict) -> dict:
    """{..., "gate": MetricGate, "data": DataVersion} -> {"result": GateResult}: scored by the deployment, computed here."""
    gate = MetricGate.model_validate(payload["gate"])
    data = DataVersion.model_validate(payload["data"])
    columns, rows = _table(data)
    if gate.target not in columns:
        raise InvalidInput(f"the holdout {data.id} has no column {gate.target!r} (it has {', '.join(columns)}): mend the gate's target")
    label = columns.index(gate.target)
    features = [name for name in columns if name != gate.target]
    truth, predicted = [row[label] for row in rows], []
    for batch in batched(rows, BATCH, strict=False):
        body = {"input_data": {"columns": features, "index": list(range(len(batch))),
                               "data": [[value for at, value in enumerate(row) if at != label] for row in batch]}}
        answer = _score(payload, body)
        values = _predictions(answer)
        if answer.status != 200 or values is None or len(values) != len(batch):
            return {"result": {"gate": f"metric:{gate.metric}", "outcome": "failed", "evidence": {"status": answer.status},
                               "message": f"{len(batch)} holdout rows were answered {answer.status} with "
                                          f"{'no list' if values is None else f'{len(values)} predictions'}: {answer.body[:300]}"}}
        predicted += values
    countable = gate.metric == "accuracy" or all(map(_is_number, predicted))
    value = compute_metric(gate.metric, truth, predicted) if rows and countable else math.nan
    return {"result": judge_metric(gate, value=value, rows=len(rows), holdout=data.digest.value).model_dump(mode="json")}


def _requests(data: DataVersion) -> Iterator[dict[str, Any]]:
    """The sample requests of an asset: each .json file one request, each line of a .jsonl file one."""
    for path, content in app().registry.read_data(data.ref, DATA_LIMIT):
        lines = content.decode().splitlines() if path.endswith(".jsonl") else [content.decode()]
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                request = json.loads(line)
            except ValueError as error:
                raise InvalidInput(f"sample request {path}:{number} of {data.id} is not JSON: {error}") from error
            if not isinstance(request, dict):
                raise InvalidInput(f"sample request {path}:{number} of {data.id} is not an object")
            yield request


def _table(data: DataVersion) -> tuple[list[str], list[list[Any]]]:
    """Columns and rows of a labelled asset: CSV with a header, or JSON lines of objects."""
    columns: list[str] = []
    rows: list[list[Any]] = []
    for path, content in app().registry.read_data(data.ref, DATA_LIMIT):
        if path.endswith(".csv"):
            reader = csv.reader(io.StringIO(content.decode()))
            header = next(reader, [])
            found = [[_cell(text) for text in line] for line in reader if line]
        elif path.endswith(".jsonl"):
            records = [json.loads(line) for line in content.decode().splitlines() if line.strip()]
            header = list(records[0]) if records else []
            found = [[record.get(name) for name in header] for record in records]
        else:
            continue
        if columns and header != columns:
            raise InvalidInput(f"the files of {data.id} have different columns: {columns} and {header} in {path}")
        columns = header
        rows += found
    if not columns:
        raise InvalidInput(f"the holdout {data.id} has no .csv or .jsonl file")
    return columns, rows


def _cell(text: str) -> Any:
    """CSV has no types: what reads as a number is one, the empty cell is null, the rest is text."""
    if text == "":
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _sample(payload: dict, request: dict[str, Any]) -> SampleAnswer:
    answer = _score(payload, request)
    values = _predictions(answer)
    return SampleAnswer(
        status=answer.status, rows_asked=_rows(request), rows_predicted=None if values is None else len(values),
        finite=values is not None and all(_is_finite(value) for value in values), seconds=answer.seconds, detail=answer.body[:500])


def _score(payload: dict, body: dict[str, Any]) -> Answer:
    return app().deployments.score(payload["workspace"], payload["endpoint"], json.dumps(body).encode(), deployment=payload["name"])


def _rows(request: dict[str, Any]) -> int:
    """Rows of an MLflow scoring request in split, records or plain list form."""
    data = request.get("input_data", request.get("data", []))
    if isinstance(data, dict):
        data = data.get("data", [])
    return len(data) if isinstance(data, list) else 0


def _predictions(answer: Answer) -> list[Any] | None:
    """The predictions of an answer: a JSON list, bare or under `predictions`."""
    try:
        value = json.loads(answer.body)
    except ValueError:
        return None
    if isinstance(value, dict):
        value = value.get("predictions")
    return value if isinstance(value, list) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_finite(value: Any) -> bool:
    if isinstance(value, list):
        return all(_is_finite(item) for item in value)
    return value is not None and (not isinstance(value, float) or math.isfinite(value))
