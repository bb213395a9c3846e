"""Reads a monitor's data: collected requests (JSON lines with an envelope), plain JSON lines, CSV files and MLTables."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

CORRELATION = "correlationid"
"""Collected rows have it as a column: the request's id and the row's number in it."""
_LINES, _TABLES = (".jsonl", ".json"), {".csv": ",", ".tsv": "\t"}


class UnusableData(Exception):
    """There is nothing to compute the signal on; the message is for the monitor's owner."""


@dataclass(frozen=True, slots=True)
class Window:
    """Collected rows count when their time is in `[start, end)`; rows without a time always do."""

    start: datetime | None
    end: datetime | None

    @classmethod
    def of(cls, bounds: dict[str, str | None]) -> Window:
        return cls(*(datetime.fromisoformat(text) if (text := bounds.get(name)) else None for name in ("start", "end")))

    def has(self, when: datetime) -> bool:
        return (self.start is None or when >= self.start) and (self.end is None or when < self.end)

    def __str__(self) -> str:
        return f"[{self.start or '...'}, {self.end or '...'})"


def read(path: Path, window: Window, what: str) -> pd.DataFrame:
    """All rows below a file or folder; raises `UnusableData` when there is none, or none that can be read."""
    frames, records = [], []
    for file, options in _files(path):
        if file.suffix.lower() in _TABLES:
            frames.append(_table(file, options))
        else:
            records.extend(_rows(file, window))
    if records:
        frames.append(pd.DataFrame.from_records(records))
    found = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
    if found.empty:
        raise UnusableData(f"The {what} data has no rows in the window {window}.")
    return found


def _files(path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Data files with the options for reading them; an MLTable names its own."""
    table = path if path.name == "MLTable" else path / "MLTable"
    if table.is_file():
        yield from _mltable(table)
        return
    for file in [path] if path.is_file() else sorted(item for item in path.rglob("*") if item.is_file()):
        suffix = file.suffix.lower()
        if suffix == ".parquet":
            raise UnusableData(f"{file.name}: the image that monitors run in has no reader for Parquet; use CSV or JSON lines.")
        if suffix in _TABLES or suffix in _LINES:
            yield file, {}
        elif path.is_file():
            raise UnusableData(f"{file.name} is neither CSV nor JSON lines.")


def _mltable(table: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The files that an MLTable lists by path or pattern below its own folder."""
    document = yaml.safe_load(table.read_text(encoding="utf-8")) or {}
    options: dict[str, Any] = {}
    for step in document.get("transformations") or []:
        name, settings = next(iter(step.items())) if isinstance(step, dict) else (step, None)
        if name == "read_delimited":
            options = dict(settings or {})
        elif name != "read_json_lines":
            raise UnusableData(f"The MLTable's transformation {name} is not one that monitors here apply.")
    for entry in document.get("paths") or []:
        pattern = next(iter(entry.values()))
        if "://" in pattern:
            raise UnusableData(f"The MLTable's path {pattern} is not below the MLTable.")
        for file in sorted(table.parent.glob(pattern.removeprefix("./"))):
            yield from ((item, options) for item, _ in _files(file))


def _table(file: Path, options: dict[str, Any]) -> pd.DataFrame:
    separator = options.get("delimiter") or _TABLES[file.suffix.lower()]
    return pd.read_csv(file, sep=separator, encoding=options.get("encoding") or "utf-8")


def _rows(file: Path, window: Window) -> Iterator[dict[str, Any]]:
    text = file.read_text(encoding="utf-8")
    documents = json.loads(text) if file.suffix.lower() == ".json" and text.lstrip().startswith("[") else _lines(text, file)
    for document in documents:
        if not isinstance(document, dict):
            raise UnusableData(f"{file.name}: a row must be an object.")
        if "specversion" not in document:
            yield document
        elif window.has(datetime.fromisoformat(document["time"])):
            yield from _collected(document, file)


def _lines(text: str, file: Path) -> Iterator[Any]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                yield json.loads(line)
            except ValueError as problem:
                raise UnusableData(f"{file.name}, line {number}: {problem}") from problem


def _collected(document: dict[str, Any], file: Path) -> Iterator[dict[str, Any]]:
    data = document["data"]
    if not isinstance(data, list) or not all(isinstance(row, dict) for row in data):
        raise UnusableData(f"{file.name}: payloads that are not tables need a preprocessing component.")
    for number, row in enumerate(data):
        yield {**row, CORRELATION: f"{document.get(CORRELATION)}_{number}"}
