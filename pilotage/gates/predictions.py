"""Predictions of a deployment for the rows of a table, and the metrics of them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from itertools import batched
from typing import Any, NamedTuple, Protocol, runtime_checkable

from pilotage.domain.assets import Frozen
from pilotage.domain.gate_specs import GateSpec
from pilotage.errors import InvalidInput
from pilotage.gates.interface import Gate, Trial
from pilotage.gates.signature import read_signature
from pilotage.ports import Answer

BATCH = 500
"""Rows a scoring request: well under the endpoint's payload limit."""


class Unanswered(Exception):
    """The model did not answer rows with one prediction each: its own fault, and the gate's verdict. The text says what came."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Labelled(Frozen):
    """A holdout apart: what the model may see, and what it must say."""

    features: list[str]
    rows: list[list[Any]]
    labels: list[Any]


def labelled(columns: Sequence[str], rows: Sequence[Sequence[Any]], target: str, metric: str, of: str) -> Labelled:
    """Split the label off. Raises InvalidInput for a column that is not there and for labels that the metric can't use."""
    if target not in columns:
        raise InvalidInput(f"the holdout {of} has no column {target!r} (it has {', '.join(columns)}): mend the gate's target")
    at = list(columns).index(target)
    labels = [row[at] for row in rows]
    unusable = sum(value is None or (metric in ("mae", "rmse") and not is_number(value)) for value in labels)
    if unusable:
        raise InvalidInput(f"{unusable} of {len(rows)} rows of the holdout {of} have no {target!r} that {metric} can use")
    return Labelled(features=[name for name in columns if name != target],
                    rows=[[value for place, value in enumerate(row) if place != at] for row in rows], labels=labels)


class Sent(NamedTuple):
    """What a model is given of a holdout."""

    features: list[str]
    """The columns it was made of."""
    rows: list[Any]
    """Values in the columns' order; with a tensor signature nested as its shape asks for."""
    tensor: bool = False


class Ask(NamedTuple):
    """What a gate will ask a model to predict."""

    sent: Sent
    champion: bool = False


@runtime_checkable
class AskingGate[Spec: GateSpec](Gate[Spec], Protocol):
    """A gate that measures with predictions: in a job they are made before it runs."""

    def asks(self, trial: Trial, spec: Spec) -> list[Ask]:
        """What `begin` will have predicted, by whom. Raises what `begin` would refuse."""


def for_the_model(trial: Trial, holdout: Labelled, of: str, beside: Sequence[str] = ()) -> Sent:
    """Columns and rows that the model is sent: those of its signature, in its order; what else the holdout has is for gates only.

    A tensor has a size and no names: it is made of the columns that are numbers, without those that only gates look at (`beside`: slices,
    cohorts). A model without signature is sent everything. Raises InvalidInput when columns are missing, or too many for the tensor.
    """
    signature = read_signature(trial)
    names = holdout.features
    if signature is not None and signature.columns:
        if lacking := [column.name for column in signature.columns if column.required and column.name not in names]:
            raise InvalidInput(f"the holdout {of} has no column {', '.join(lacking)}, which the model's signature requires "
                               f"(it has {', '.join(names)})")
        names = [name for name in signature.names if name in names]
    elif signature is not None and signature.tensors:
        shape = signature.tensors[0].shape[1:]
        names = [name for place, name in enumerate(names) if name not in beside and all(is_number(row[place]) for row in holdout.rows[:20])]
        if len(names) != math.prod(shape):
            raise InvalidInput(f"the holdout {of} has {len(names)} columns of numbers, and the model takes a tensor of "
                               f"{' x '.join(map(str, shape))}: leave out what is no part of it, or name it under slices or sensitive")
        at = [holdout.features.index(name) for name in names]
        return Sent(names, [_nested([row[place] for place in at], shape) for row in holdout.rows], tensor=True)
    at = [holdout.features.index(name) for name in names]
    return Sent(names, [[row[place] for place in at] for row in holdout.rows])


def _nested(values: list[Any], shape: Sequence[int]) -> Any:
    if len(shape) <= 1:
        return values
    size = math.prod(shape[1:])
    return [_nested(values[at:at + size], shape[1:]) for at in range(0, len(values), size)]


def predict(trial: Trial, features: Sequence[str], rows: Sequence[Any], tensor: bool = False, *, champion: bool = False) -> list[Any]:
    """One prediction a row, from the candidate's deployment or the champion's. Raises Unanswered."""
    predicted: list[Any] = []
    for body, count in requests_of(Sent(list(features), list(rows), tensor)):
        answer = trial.score(body, champion=champion)
        values = predictions(answer)
        if answer.status != 200 or values is None or len(values) != count:
            raise Unanswered(f"{count} holdout rows were answered {answer.status} with "
                             f"{'no list' if values is None else f'{len(values)} predictions'}: {answer.body[:300]}", answer.status)
        predicted += values
    return predicted


def requests_of(sent: Sent) -> Iterator[tuple[bytes, int]]:
    """The scoring requests that ask for these rows' predictions, each with how many rows it holds."""
    for batch in batched(sent.rows, BATCH, strict=False):
        split = {"columns": sent.features, "index": list(range(len(batch))), "data": [list(row) for row in batch]}
        yield json.dumps({"input_data": list(batch) if sent.tensor else split}).encode(), len(batch)


def predictions(answer: Answer) -> list[Any] | None:
    """The predictions of an answer: a JSON list, bare or under `predictions`, or named columns of one length; None when there is none."""
    try:
        value = json.loads(answer.body)
    except ValueError:
        return None
    if isinstance(value, dict):
        value = value["predictions"] if "predictions" in value else _rows_of(value)
    return value if isinstance(value, list) else None


def _rows_of(columns: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Named outputs are answered as columns of one length: as rows."""
    if not columns or not all(isinstance(values, list) for values in columns.values()):
        return None
    if len({len(values) for values in columns.values()}) != 1:
        return None
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def equal(one: Any, other: Any, relative: float, absolute: float) -> bool:
    """Numbers within the tolerance, structures part by part, everything else exactly.

    `other` may write NaN and infinities as text, which JSON has no word for: servers answer null, or Python's own word.
    """
    if is_number(one) and is_number(other):
        return math.isclose(one, other, rel_tol=relative, abs_tol=absolute) or (math.isnan(one) and math.isnan(other))
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(equal(a, b, relative, absolute) for a, b in zip(one, other, strict=True))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(equal(one[name], other[name], relative, absolute) for name in one)
    if other in ("nan", "inf", "-inf") and not isinstance(one, list | dict):
        return one is None or str(one) == other
    return type(one) is type(other) and bool(one == other)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_finite(value: Any) -> bool:
    """Whether a prediction is a value: not null, NaN or infinite, nor are its parts."""
    if isinstance(value, list):
        return all(is_finite(item) for item in value)
    if isinstance(value, dict):
        return all(is_finite(item) for item in value.values())
    return value is not None and (not isinstance(value, float) or math.isfinite(value))


def is_same(label: Any, predicted: Any) -> bool:
    """Numbers are compared as numbers (1 is 1.0), everything else as text: a file's "3" may be predicted as 3."""
    if is_number(label) and is_number(predicted):
        return bool(label == predicted)
    return str(label) == str(predicted)


def compute_metric(metric: str, truth: Sequence[Any], predicted: Sequence[Any]) -> float:
    """mae and rmse in the label's unit; accuracy, balanced_accuracy and f1_macro as shares of 1.

    Raises ValueError on unequal or empty input and for an unknown metric.
    """
    if not truth or len(truth) != len(predicted):
        raise ValueError(f"{len(truth)} labels and {len(predicted)} predictions: they must pair, and be more than none")
    if metric == "accuracy":
        return sum(is_same(a, b) for a, b in zip(truth, predicted, strict=True)) / len(truth)
    if metric in ("balanced_accuracy", "f1_macro"):
        from sklearn.metrics import balanced_accuracy_score, f1_score

        # As one alphabet: a file's "3" and a model's 3 are one class.
        labels, said = [_class(value) for value in truth], [_class(value) for value in predicted]
        if metric == "balanced_accuracy":
            return float(balanced_accuracy_score(labels, said))
        return float(f1_score(labels, said, average="macro", zero_division=0))
    errors = [float(b) - float(a) for a, b in zip(truth, predicted, strict=True)]
    if metric == "mae":
        return math.fsum(abs(e) for e in errors) / len(errors)
    if metric == "rmse":
        return math.sqrt(math.fsum(e * e for e in errors) / len(errors))
    raise ValueError(f"unknown metric {metric!r}: use mae, rmse, accuracy, balanced_accuracy or f1_macro")


def _class(value: Any) -> str:
    if is_number(value) and math.isfinite(value) and float(value).is_integer():
        return str(int(value))
    return str(value)
