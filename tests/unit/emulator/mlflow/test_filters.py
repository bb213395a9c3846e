"""The search language, clause by clause."""

from __future__ import annotations

import contextlib
import math
import random
from typing import Any

import pytest

from emulator.azure_ml.mlflow import filters
from emulator.azure_ml.mlflow.errors import INVALID_PARAMETER, MlflowError

THINGS: dict[tuple[str, str], Any] = {
    ("metric", "rmse"): 0.5,
    ("metric", "val-loss/a"): -2.0,
    ("metric", "with space"): 1e3,
    ("metric", "bad"): math.nan,
    ("param", "kind"): "Tree",
    ("param", "quoted"): "it's",
    ("tag", "mlflow.source.type"): "JOB",
    ("tag", "50%"): "x_y",
    ("attribute", "status"): "FINISHED",
    ("attribute", "run_name"): "first",
    ("attribute", "start_time"): 1700000000000,
}


def holds(text: str) -> bool:
    return filters.matching(filters.parse(text, filters.RUNS), lambda entity, key: THINGS.get((entity, key)))


@pytest.mark.parametrize("text", [
    "", "   ",
    "metrics.rmse < 1", "metric.rmse=0.5", "metrics.rmse<=.5", "metrics.rmse != 1e-3", "metrics.`val-loss/a` >= -2",
    "metrics.val-loss/a < 0",
    'metrics."with space" > 999', "metrics.`with space` > 999",
    "params.kind = 'Tree'", 'params.kind = "Tree"', "parameters.kind LIKE 'Tr%'", "param.kind ILIKE 't__e'", "params.kind != 'tree'",
    r"params.quoted = 'it\'s'", 'params.quoted = "it\'s"',
    "tags.mlflow.source.type = 'JOB'", "tags.`mlflow.source.type` = 'JOB'", "tag.`50%` LIKE 'x\\_y'", "tags.gone IS NULL",
    "tags.`50%` is not null",
    "status = 'FINISHED'", "attributes.status = 'FINISHED'", "attr.status IN ('FAILED', 'FINISHED')", "run.status NOT IN ('FAILED')",
    "`run name` = 'first'", "attribute.start_time >= 1700000000000", "created > 0", "Created < '1800000000000'",
    "metrics.rmse < 1 and params.kind='Tree' AND status = 'FINISHED'",
])  # fmt: skip
def test_what_holds(text: str) -> None:
    assert holds(text)


@pytest.mark.parametrize("text", [
    "metrics.rmse > 1", "metrics.gone < 1", "metrics.gone != 1", "metrics.bad < 1", "metrics.bad >= 1",
    "params.kind = 'tree'", "params.kind LIKE 't%'", "params.gone != 'x'", "params.gone NOT IN ('x')", "tags.`50%` LIKE 'x'",
    "params.kind LIKE 'Tre'", "params.kind LIKE 'T.*'", "metrics.rmse < 1 and params.kind = 'no'", "tags.`50%` IS NULL",
])  # fmt: skip
def test_what_does_not(text: str) -> None:
    assert not holds(text)


@pytest.mark.parametrize(("text", "told"), [
    ("metrics.rmse", "expected a comparator"),
    ("metrics.rmse <", "expected a number"),
    ("metrics.rmse < 'many'", "Expected numeric value"),
    ("metrics.rmse LIKE 'a'", "Invalid comparator 'LIKE'"),
    ("metrics.rmse IS NULL", "Invalid comparator 'IS NULL'"),
    ("params.kind < 'a'", "Invalid comparator '<'"),
    ("params.kind = Tree", "not quoted"),
    ("params.kind = 1", "not quoted"),
    ("colour.red = 'a'", "Invalid entity type 'colour'"),
    ("colour = 'a'", "Invalid attribute key 'colour'"),
    ("params.a = 'b' OR params.c = 'd'", "expected AND"),
    ("params.a = 'b' and", "expected a name"),
    ("params.a IN 'b'", "list in parentheses"),
    ("params.a IN ('b'", "not closed"),
    ("params.a IN ()", "not quoted"),
    ("params.a = 'b", "expected a quoted value"),
    ("and", "Invalid attribute key"),
    ("params. = 'b'", "expected"),
    ("x" * 30_000, "longer than"),
])  # fmt: skip
def test_what_is_no_filter(text: str, told: str) -> None:
    with pytest.raises(MlflowError, match=told) as refusal:
        filters.parse(text, filters.RUNS)
    assert refusal.value.code == INVALID_PARAMETER


def test_order_is_stable_and_what_has_no_value_comes_last() -> None:
    rows = [{"n": 2, "t": "a"}, {"n": 1, "t": "b"}, {"t": "a"}, {"n": math.nan, "t": "c"}, {"n": 1, "t": "a"}]

    def item(row: dict[str, Any]) -> filters.Item:
        return lambda entity, key: row.get({"metric": "n", "tag": "t"}[entity])

    def sort(*order: str) -> list[int]:
        return [rows.index(row) for row in filters.ordered(rows, order, filters.RUNS, item)]

    assert sort() == [0, 1, 2, 3, 4]
    assert sort("metrics.n") == [1, 4, 0, 2, 3]
    assert sort("metrics.n DESC") == [0, 1, 4, 2, 3]
    assert sort("tags.t DESC", "metrics.n asc") == [3, 1, 4, 0, 2]
    with pytest.raises(MlflowError, match="order_by"):
        sort("metrics.n DOWN")


def test_any_text_is_a_filter_or_refused() -> None:
    """Texts made of the language's own pieces: none gets past the parser with another error."""
    chance = random.Random(20260701)
    pieces = ["metrics", "params", ".", "rmse", "`a b`", "'x'", '"y"', "1", "-2.5e3", "<", ">=", "!=", "=", "LIKE", "NOT", "IN", "(", ")",
              ",", "IS", "NULL", "and", "or", " ", "'", "`", "\\", "\0", "ü", "status"]  # fmt: skip
    for _ in range(2000):
        text = chance.choice(["", " "]).join(chance.choices(pieces, k=chance.randint(1, 9)))
        with contextlib.suppress(MlflowError):
            holds(text)
