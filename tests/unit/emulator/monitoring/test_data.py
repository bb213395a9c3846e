"""The data that monitors read: formats, windows, and what is said when there is nothing to read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Image = Callable[..., Any]
READ = "__main__:read"
ALWAYS: dict[str, Any] = {"start": None, "end": None}
ROWS = [{"x": 1, "y": "a"}, {"x": 2, "y": "b"}]


def collected(time: str, rows: Any, correlation: str = "c") -> str:
    return json.dumps({"specversion": "1.0", "time": time, "data": rows, "correlationid": correlation}) + "\n"


def test_tables_and_lines(image: Image, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,a\n")
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "b.tsv").write_text("x\ty\n2\tb\n")
    assert image(READ, str(tmp_path), ALWAYS) == ROWS
    (tmp_path / "one.jsonl").write_text('{"x": 1, "y": "a"}\n\n{"x": 2, "y": "b"}\n')
    assert image(READ, str(tmp_path / "one.jsonl"), ALWAYS) == ROWS
    (tmp_path / "list.json").write_text(json.dumps(ROWS))
    assert image(READ, str(tmp_path / "list.json"), ALWAYS) == ROWS


def test_collected_rows_count_when_they_are_in_the_window(image: Image, tmp_path: Path) -> None:
    times = ["2026-01-01T23:59:59Z", "2026-01-02T00:00:00Z", "2026-01-02T23:59:59Z", "2026-01-03T00:00:00Z"]
    for number, time in enumerate(times):
        file = tmp_path / time[:10].replace("-", "/") / f"{number}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(collected(time, [{"x": number}, {"x": number}], f"c{number}"))
    found = image(READ, str(tmp_path), {"start": "2026-01-02T00:00:00+00:00", "end": "2026-01-03T00:00:00+00:00"})
    expected = [(1, "c1_0"), (1, "c1_1"), (2, "c2_0"), (2, "c2_1")]
    assert [(row["x"], row["correlationid"]) for row in found] == expected


def test_tables_of_mltable(image: Image, tmp_path: Path) -> None:
    (tmp_path / "MLTable").write_text("paths:\n  - pattern: ./data/*.csv\ntransformations:\n  - read_delimited:\n      delimiter: ';'\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("x;y\n1;a\n2;b\n")
    (tmp_path / "other.csv").write_text("x;y\n9;z\n")
    assert image(READ, str(tmp_path), ALWAYS) == ROWS


@pytest.mark.parametrize(("name", "content", "words"), [
    ("a.csv", "x,y\n", "no rows"),
    ("a.parquet", "PAR1", "Parquet"),
    ("a.bin", "?", "neither CSV nor JSON lines"),
    ("a.jsonl", '{"x": 1}\n{"x":', "line 2"),
    ("a.jsonl", "[1]\n", "must be an object"),
    ("a.jsonl", collected("2026-01-01T00:00:00Z", {"input_data": [1]}), "preprocessing component"),
    ("MLTable", "paths:\n  - file: azureml://elsewhere/a.csv\n", "not below"),
    ("MLTable", "paths:\n  - file: a.csv\ntransformations:\n  - read_parquet\n", "read_parquet"),
])  # fmt: skip
def test_what_can_not_be_read_says_why(image: Image, tmp_path: Path, name: str, content: str, words: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(AssertionError, match=f"UnusableData.*{words}"):
        image(READ, str(tmp_path / name), ALWAYS)


def test_a_window_without_rows_is_named(image: Image, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(collected("2026-01-01T00:00:00Z", ROWS))
    with pytest.raises(AssertionError, match=r"production data has no rows in the window .2026-02-01"):
        image(READ, str(tmp_path), {"start": "2026-02-01T00:00:00+00:00", "end": None})
