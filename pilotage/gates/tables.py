"""What gates measure with, out of the files of data assets: sample requests and tables of rows.

What is wrong with an asset is wrong at every repeat too, so all of it is refused as InvalidInput, with place and fix.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pilotage.errors import InvalidInput

if TYPE_CHECKING:
    import pandas as pd

Files = Sequence[tuple[str, bytes]]
_INTEGER = re.compile(r"[+-]?(0|[1-9]\d*)", re.ASCII)
_NUMBER = re.compile(r"[+-]?((0|[1-9]\d*)(\.\d*)?|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_ROWS_UNDER = ("input_data", "dataframe_split", "dataframe_records", "inputs", "instances", "data")


def requests(files: Files, of: str) -> Iterator[tuple[dict[str, Any], int]]:
    """The sample requests with their rows: each .json file is one request, each line of a .jsonl file one. `of` names the asset."""
    for path, text in _texts(files, of):
        if not path.endswith((".json", ".jsonl")):
            continue
        lines = text.splitlines() if path.endswith(".jsonl") else [text]
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            where = f"sample request {path}:{number} of {of}"
            request = _json_object(line, where)
            rows = count_rows(request)
            if not rows:
                raise InvalidInput(f"{where} asks for no rows: write them under input_data, as MLflow's scoring reads them")
            yield request, rows


def table(files: Files, of: str) -> tuple[list[str], list[list[Any]]]:
    """Columns and rows of a table: CSV with a header, or JSON lines of objects; all files have the same columns."""
    columns: list[str] = []
    rows: list[list[Any]] = []
    for path, text in _texts(files, of):
        if path.endswith(".csv"):
            header, found = _csv(text, f"{path} of {of}")
        elif path.endswith(".jsonl"):
            records = [_json_object(line, f"{path}:{number} of {of}")
                       for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
            header = list(records[0]) if records else []
            found = [[record.get(name) for name in header] for record in records]
        else:
            continue
        if columns and header != columns:
            raise InvalidInput(f"the files of {of} have different columns: {columns} and {header} in {path}")
        columns = header
        rows += found
    if not columns:
        raise InvalidInput(f"{of} has no rows: it needs a .csv or .jsonl file with columns")
    return columns, rows


def frame(files: Files, of: str) -> pd.DataFrame:
    """The same as a data frame; numbers are numbers, empty cells are missing, everything else is text."""
    import pandas as pd

    columns, rows = table(files, of)
    return pd.DataFrame(rows, columns=columns)


def count_rows(request: dict[str, Any]) -> int:
    """Rows of a scoring request in split, records, plain list or named tensor form; 0 when it has none that can be counted."""
    data = next((request[name] for name in _ROWS_UNDER if name in request), None)
    if isinstance(data, dict):
        data = data["data"] if "data" in data else next((item for item in data.values() if isinstance(item, list)), None)
    return len(data) if isinstance(data, list) else 0


def _texts(files: Files, of: str) -> Iterator[tuple[str, str]]:
    for path, content in files:
        if path.endswith((".csv", ".jsonl", ".json")):
            try:
                yield path, content.decode("utf-8-sig")
            except UnicodeDecodeError as error:
                raise InvalidInput(f"{path} of {of} is not UTF-8 (byte {error.start})") from error


def _json_object(line: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise InvalidInput(f"{where} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidInput(f"{where} is not an object")
    return value


def _csv(text: str, where: str) -> tuple[list[str], list[list[Any]]]:
    reader = csv.reader(io.StringIO(text))
    rows = []
    try:
        header = next(reader, [])
        for line in reader:
            if line and len(line) != len(header):
                raise InvalidInput(f"line {reader.line_num} of {where} has {len(line)} cells; the header names {len(header)} columns")
            if line:
                rows.append([_cell(cell) for cell in line])
    except csv.Error as error:
        raise InvalidInput(f"line {reader.line_num} of {where} is not CSV: {error}") from error
    return header, rows


def _cell(text: str) -> Any:
    """CSV has no types: what is written as a number is one (007 is not), what is empty or NaN is null, the rest is text."""
    if text.strip().casefold() in ("", "nan"):
        return None
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else text
