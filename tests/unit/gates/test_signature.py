"""What fits a signature: names, order, types, shapes, in every form of a request."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage.domain.model_signatures import Column, ModelSignature, Tensor
from pilotage.errors import InvalidInput
from pilotage.gates.signature import answer_misfit, misfits, read_signature
from tests.support.trial import FakeTrial

INPUTS = [{"name": "carrier", "type": "string", "required": True}, {"name": "hour", "type": "long", "required": True},
          {"name": "distance", "type": "double", "required": True}, {"name": "note", "type": "string", "required": False}]


def mlmodel(inputs: Any = INPUTS, outputs: Any = None) -> bytes:
    told = json.dumps([{"type": "double"}] if outputs is None else outputs)
    lines = ["flavors: {}", "signature:", f"  inputs: '{json.dumps(inputs)}'", f"  outputs: '{told}'"]
    return "\n".join(lines).encode()


SIGNATURE = ModelSignature(columns=[Column(name="carrier", type="string"), Column(name="hour", type="long"),
                               Column(name="distance", type="double"), Column(name="note", type="string", required=False)])
GOOD = ["UA", 7, 100.5, None]
NAMES = ["carrier", "hour", "distance", "note"]


def split(columns: list[str], *rows: list[Any]) -> dict[str, Any]:
    return {"input_data": {"columns": columns, "index": list(range(len(rows))), "data": list(rows)}}


def told(request: dict[str, Any], signature: ModelSignature = SIGNATURE) -> str:
    return "; ".join(map(str, misfits(signature, request)))


@pytest.mark.parametrize("request_", [
    split(NAMES, GOOD, ["AA", 8, 7, "late"]), split(NAMES[:3], GOOD[:3]), {"dataframe_split": split(NAMES, GOOD)["input_data"]},
    {"input_data": [{"carrier": "UA", "hour": 7, "distance": 1.0}]}, {"dataframe_records": [dict(zip(NAMES, GOOD, strict=True))]},
    {"input_data": [GOOD]}, {"inputs": {"carrier": ["UA"], "hour": [7], "distance": [2], "note": ["x"]}},
    {"input_data": {"data": [GOOD]}}, split(NAMES, ["UA", 7.0, float("nan"), None]),
])
def test_what_fits_is_let_through_in_every_form(request_: dict[str, Any]) -> None:
    assert told(request_) == ""


@pytest.mark.parametrize(("request_", "says"), [
    (split(["hour", "carrier", "distance"], [7, "UA", 1.0]), "another order than the model's signature: the request has hour, carrier, "
                                                              "distance; the signature carrier, hour, distance"),
    ({"input_data": [{"hour": 7, "carrier": "UA", "distance": 1.0, "note": "x"}]}, "another order"),
    (split(["carrier", "distance"], ["UA", 1.0]), "hour is missing"),
    (split([*NAMES, "tail"], [*GOOD, "N1"]), "tail is not in the signature, which has carrier, hour, distance, note"),
    (split(["carrier", "carrier", "hour", "distance"], ["UA", "AA", 7, 1.0]), "carrier is there twice"),
    (split(NAMES, ["UA", "7", 1.0, None]), "row 1: hour is text; the signature says long"),
    (split(NAMES, GOOD, ["UA", 7.5, 1.0, None]), "row 2: hour is a fraction"),
    (split(NAMES, ["UA", True, 1.0, None]), "hour is true or false"),
    (split(NAMES, [7, 7, 1.0, None]), "carrier is a whole number; the signature says string"),
    (split(NAMES, ["UA", 7, "far", None]), "distance is text"), (split(NAMES, [None, 7, 1.0, None]), "carrier is null"),
    (split(NAMES, ["UA", None, 1.0, None]), "hour is null"), (split(NAMES, ["UA", 7, 1.0]), "row 1: it has 3 values; there are 4 columns"),
    (split(NAMES, ["UA", 2**70, 1.0, None]), "too large for long"),
    ({"input_data": [["UA", 7, 1.0]]}, "it has 3 values; the signature has 4 columns"),
    ({"input_data": [[7, "UA", 1.0, None]]}, "carrier is a whole number"),
    ({"input_data": [dict(zip(NAMES, GOOD, strict=True)), {"hour": 7, "carrier": "UA", "distance": 1.0}]},
     "row 2: they are in another order"),
    ({"input_data": [dict(zip(NAMES, GOOD, strict=True)), dict(zip([*NAMES, "x"], [*GOOD, 1], strict=True))]}, "row 2: x is not in"),
    (split(NAMES, ["UA", 2**63, 1.0, None]), "too large for long"),
    ({"inputs": {"carrier": ["UA"], "hour": [7, 8], "distance": [1.0]}}, "not lists of one length"),
    ({"data": 1}, "it has no input_data"), ({"input_data": "text"}, "neither rows nor columns"),
    ({"input_data": {"columns": NAMES, "data": "x"}}, "no list of rows"),
    ({"input_data": {"columns": False, "data": []}}, "no list of names"),
    ({"input_data": {"columns": [["a"]], "data": [[1]]}}, "no list of names"),
])
def test_what_does_not_fit_is_told_with_its_place(request_: dict[str, Any], says: str) -> None:
    assert says in told(request_)


IMAGES = ModelSignature(tensors=[Tensor(dtype="float64", shape=[-1, 2, 3])])
PAIR = ModelSignature(tensors=[Tensor(name="image", dtype="uint8", shape=[-1, 2]), Tensor(name="text", dtype="str", shape=[-1])])


@pytest.mark.parametrize(("signature", "data", "says"), [
    (IMAGES, [[[1, 2, 3], [4, 5, 6]]], ""), (IMAGES, [[[1.5] * 3] * 2] * 4, ""),
    (IMAGES, [[[1, 2], [3, 4], [5, 6]]], "its shape is 1 x 3 x 2; the signature says any x 2 x 3"),
    (IMAGES, [[1, 2, 3]], "its shape is 1 x 3"), (IMAGES, [[[1, 2, 3], [4, 5]]], "different lengths (2, 3)"),
    (IMAGES, [[["1", 2, 3], [4, 5, 6]]], "it holds text"), (IMAGES, 3, "its shape is a single value"),
    (PAIR, {"image": [[1, 2]], "text": ["a"]}, ""), (PAIR, {"image": [[1, 2]]}, "the tensor text is missing"),
    (PAIR, {"image": [[1, 2]], "text": ["a"], "x": [1]}, "the tensor x is not in the signature"),
    (PAIR, {"image": [[1.5, 2]], "text": ["a"]}, "it holds a fraction; the signature says uint8"), (PAIR, [[1, 2]], "this names none"),
])
def test_tensors_have_shapes(signature: ModelSignature, data: Any, says: str) -> None:
    found = told({"input_data": data}, signature)
    assert (found == "") if not says else (says in found)


# As mlflow.models.infer_signature writes them.
NESTED = [{"type": "array", "items": {"type": "string"}, "name": "words", "required": True},
          {"type": "object", "name": "trip", "required": True, "properties": {
              "from": {"type": "string", "required": True}, "stops": {"type": "long", "required": False}}},
          {"type": "map", "values": {"type": "double"}, "name": "costs", "required": False}]
TRIP = [["a", "b"], {"from": "JFK", "stops": 1}, {"toll": 1.5}]


@pytest.mark.parametrize(("at", "value", "says"), [
    (0, ["a"], ""), (0, [], ""), (0, ["a", 1], "words holds what is a whole number; the signature says string"),
    (0, ["a", None], "words holds what is null"), (0, "ab", "words is text; the signature says array"),
    (1, {"from": "JFK"}, ""), (1, {"from": "JFK", "stops": None}, ""),
    (1, {"stops": 1}, "trip has no from, which the signature requires"), (1, {"from": 3}, "trip has from, which is a whole number"),
    (1, {"from": "JFK", "stops": 1.5}, "trip has stops, which is a fraction; the signature says long"),
    (1, {"from": "JFK", "to": "LAX"}, "trip has to, which is not in the signature"), (1, [], "trip is a list"),
    (2, None, ""), (2, {"toll": None}, ""), (2, {"toll": "much"}, "costs holds what is text; the signature says double"),
    (2, [1.5], "costs is a list; the signature says map"),
], ids=range(16))
def test_what_is_inside_a_value_has_its_types_too(at: int, value: Any, says: str) -> None:
    signature = read_signature(FakeTrial(artifact_files={"MLmodel": mlmodel(NESTED)}))
    assert signature is not None
    found = told(split(signature.names, [*TRIP[:at], value, *TRIP[at + 1:]]), signature)
    assert (found == "") if not says else (says in found)


NUMBER = [{"type": "double", "required": True}]
CLASSES = [{"type": "tensor", "tensor-spec": {"dtype": "int64", "shape": [-1]}}]
CHANCES = [{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 2]}}]
TWO = [{"type": "string", "name": "class", "required": True}, {"type": "double", "name": "chance", "required": True}]
BOTH = [{"name": "p", **CLASSES[0]}, {"name": "q", **CHANCES[0]}]


@pytest.mark.parametrize(("outputs", "answered", "says"), [
    ([], ["anything", 1], None), (NUMBER, [1.5, 2], None), (NUMBER, [[1.5], [2.5]], None), (NUMBER, [{"0": 1.5}], None),
    (NUMBER, ["1.5"], "prediction 1 is text; the signature says double"), (NUMBER, [1.5, [1, 2]], "prediction 2 is a list"),
    (NUMBER, [{"other": 1.5}], "prediction 1 has other, which is not in the signature"),
    (CLASSES, [3, 4], None), (CLASSES, [3, 4.5], "it holds a fraction; the signature says int64"),
    (CLASSES, [[3], [4]], "its shape is 2 x 1; the signature says any"), (CLASSES, ["three"], "it holds text"),
    (CHANCES, [[0.1, 0.9]], None), (CHANCES, [[0.1, 0.2, 0.7]], "its shape is 1 x 3; the signature says any x 2"),
    (TWO, [{"class": "a", "chance": 0.5}], None), (TWO, [["a", 0.5]], None),
    (TWO, [{"chance": 0.5}], "prediction 1 has no class"), (TWO, ["a"], "prediction 1 is text; the signature declares class, chance"),
    (TWO, [["a"]], "prediction 1 is a list of 1"), (TWO, [["a", "b"]], "prediction 1 has chance, which is text"),
    (BOTH, [{"p": 1, "q": [0.1, 0.9]}], None), (BOTH, [{"p": 1}], "prediction 1 has p; the signature declares p, q"),
    (BOTH, [1], "name none of p, q"), (BOTH, [{"p": 0.5, "q": [0.1, 0.9]}], "tensor p: it holds a fraction"),
], ids=range(23))
def test_answers_are_as_the_signature_declares(outputs: list[dict[str, Any]], answered: list[Any], says: str | None) -> None:
    signature = read_signature(FakeTrial(artifact_files={"MLmodel": mlmodel(outputs=outputs)}))
    assert signature is not None
    found = answer_misfit(signature, answered)
    assert (found is None) if says is None else (says in str(found))


def test_it_is_read_from_the_models_own_file() -> None:
    for path in ("MLmodel", "model/MLmodel"):
        found = read_signature(FakeTrial(artifact_files={path: mlmodel()}))
        assert found is not None
        assert [(column.name, column.type, column.required) for column in found.columns] == [
            (entry["name"], entry["type"], entry["required"]) for entry in INPUTS]
    tensor = [{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 8, 8]}}]
    found = read_signature(FakeTrial(artifact_files={"MLmodel": mlmodel(tensor, tensor)}))
    assert found is not None
    assert (found.tensors[0].shape, found.output_tensors[0].dtype) == ([-1, 8, 8], "float64")


def test_what_is_nested_is_told_in_full() -> None:
    found = read_signature(FakeTrial(artifact_files={"MLmodel": mlmodel([*NESTED, {"name": "any", "type": "array"}])}))
    assert found is not None
    assert [column.told for column in found.columns] == [
        "array of string", "object (from: string; stops: long, optional)", "map of double, optional", "array of anything"]


@pytest.mark.parametrize("files", [{}, {"model.pkl": b"x"}, {"a/b/MLmodel": mlmodel()}, {"MLmodel": b"flavors: {}"}])
def test_a_model_may_have_none(files: dict[str, bytes]) -> None:
    assert read_signature(FakeTrial(artifact_files=files)) is None


@pytest.mark.parametrize("content", [
    b"signature: {inputs: '{'}", b"\xff\xfe", b"signature: {inputs: '[{}]'}", b"a: [", b"signature: x", b"", b"- a",
    b"signature: {inputs: '" + b"[" * 100_000 + b"'}"], ids=["json", "bytes", "no type", "yaml", "text", "empty", "list", "deep"])
def test_one_that_cannot_be_read_is_told(content: bytes) -> None:
    with pytest.raises(InvalidInput, match="MLmodel of the model can't be read"):
        read_signature(FakeTrial(artifact_files={"MLmodel": content}))


def test_which_of_two_models_is_served_cannot_be_told() -> None:
    with pytest.raises(InvalidInput, match="2 MLmodel files"):
        read_signature(FakeTrial(artifact_files={"a/MLmodel": mlmodel(), "b/MLmodel": mlmodel()}))


def test_no_value_of_a_row_is_told() -> None:
    assert "Jane" not in told(split(NAMES, ["UA", "Jane Doe", 1.0, None]))


@given(st.permutations(NAMES))
def test_any_other_order_of_the_columns_is_told(order: list[str]) -> None:
    row = dict(zip(NAMES, GOOD, strict=True))
    assert ("another order" in told(split(order, [row[name] for name in order]))) is (order != NAMES)


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=3)
                    | st.dictionaries(st.sampled_from([*NAMES, "data", "columns"]), inner, max_size=3), max_leaves=12)


@given(JSON, st.sampled_from([SIGNATURE, IMAGES, PAIR]))
def test_no_request_breaks_it(data: Any, signature: ModelSignature) -> None:
    assert all(str(finding) for finding in misfits(signature, {"input_data": data}))
