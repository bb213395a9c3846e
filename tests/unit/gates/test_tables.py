"""Sample requests and labelled rows, as people write them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pilotage.errors import InvalidInput
from pilotage.gates import tables

OF = "data/d/versions/1"


def _data(**files: bytes) -> list[tuple[str, bytes]]:
    return sorted((name.replace("_", "."), content) for name, content in files.items())


@pytest.mark.parametrize(("request_", "rows"), [
    ({"input_data": {"columns": ["a"], "index": [0, 1], "data": [[1], [2]]}}, 2),
    ({"input_data": [{"a": 1}, {"a": 2}, {"a": 3}]}, 3),
    ({"input_data": [[1, 2]]}, 1),
    ({"input_data": {"image": ["aGk=", "aGk="]}}, 2),
    ({"dataframe_split": {"columns": ["a"], "data": [[1]]}}, 1),
    ({"dataframe_records": [{"a": 1}]}, 1),
    ({"inputs": [1, 2]}, 2),
    ({"instances": [1]}, 1),
    ({"data": [[1], [2]], "params": {}}, 2),
])
def test_rows_of_a_request_are_counted_in_every_form_that_mlflow_reads(request_: dict[str, Any], rows: int) -> None:
    data = _data(a_json=json.dumps(request_).encode())
    assert list(tables.requests(data, OF)) == [(request_, rows)]


@pytest.mark.parametrize("text", ["{}", '{"input_data": []}', '{"input_data": {"data": []}}', '{"input_data": "text"}', '{"text": "hi"}',
                                  "[1]", "1", "{", ""])
def test_a_request_without_rows_is_refused_with_its_place(text: str) -> None:
    data = _data(a_jsonl=(json.dumps({"input_data": [1]}) + "\n\n" + text + "\n").encode())
    if not text:
        assert len(list(tables.requests(data, OF))) == 1
        return
    with pytest.raises(InvalidInput, match=r"a\.jsonl:3 of .*data/d/versions/1"):
        list(tables.requests(data, OF))


def test_each_line_of_a_jsonl_file_is_a_request_and_a_json_file_is_one() -> None:
    one = json.dumps({"input_data": [1]})
    data = _data(b_jsonl=f"{one}\n{one}\n".encode(), a_json=json.dumps({"input_data": [1, 2]}, indent=1).encode())
    assert [rows for _, rows in tables.requests(data, OF)] == [2, 1, 1], "in the order of the files' names"


@pytest.mark.parametrize(("cell", "value"), [
    ("1", 1), ("-1", -1), ("+1", 1), ("0", 0), ("1.5", 1.5), (".5", 0.5), ("1.", 1.0), ("1e3", 1000.0), ("-1.5E-3", -0.0015),
    ("007", "007"), ("1_000", "1_000"), ("1,5", "1,5"), ("0x1", "0x1"), ("inf", "inf"), ("Infinity", "Infinity"), ("\u0661", "\u0661"),
    ("", None), ("nan", None), ("NaN", None), (" ", None), ("None", "None"), ("true", "true"), (" 1", " 1"), ("JFK", "JFK"),
])
def test_a_cell_is_what_it_is_written_as(cell: str, value: Any) -> None:
    quoted = '"' + cell + '"'
    columns, rows = tables.table(_data(a_csv=f"x,y\n{quoted},z\n".encode()), OF)
    assert columns == ["x", "y"]
    assert rows == [[value, "z"]]
    assert type(rows[0][0]) is type(value)


def test_a_table_may_lie_in_several_files_and_forms() -> None:
    columns, rows = tables.table(_data(
        a_csv=b"\xef\xbb\xbfx,y\n1,2\n\n3,4\n", b_jsonl=b'{"x": 5, "y": null}\n{"y": 6}\n', c_txt=b"read me"), OF)
    assert (columns, rows) == (["x", "y"], [[1, 2], [3, 4], [5, None], [None, 6]])


@pytest.mark.parametrize(("files", "says"), [
    ({}, "has no rows"),
    ({"a_csv": b""}, "has no rows"),
    ({"a_jsonl": b"\n"}, "has no rows"),
    ({"a_csv": b"x,y\n1,2,3\n"}, r"line 2 of a\.csv .* has 3 cells; the header names 2 columns"),
    ({"a_csv": b"x,y\n" + b'"' + b"x" * 200_000 + b'",1\n'}, "is not CSV"),
    ({"a_csv": "x\nä\n".encode("latin-1")}, r"a\.csv of .* is not UTF-8 \(byte 2\)"),
    ({"a_jsonl": b'{"x": 1}\n[2]\n'}, r"a\.jsonl:2 of .* is not an object"),
    ({"a_csv": b"x,y\n1,2\n", "b_jsonl": b'{"y": 1, "x": 2}\n'}, r"different columns.* in b\.jsonl"),
])
def test_what_cannot_be_read_is_refused_with_its_place(files: dict[str, bytes], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        tables.table(_data(**files), OF)
