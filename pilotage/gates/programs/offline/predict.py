"""Predict sample requests with the model itself, no server between: what the endpoint must answer too.

Runs as an Azure ML job in the model's own environment. Writes into the result folder:
  predictions.jsonl  one line a request: {"request": n, "predictions": [...]}
  summary.json       versions that predicted; whether the model reads its columns by place
  failure.json       instead, when the model can't be loaded or can't predict: {"phase", "error"}
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROWS_UNDER = ("input_data", "dataframe_split", "dataframe_records", "inputs", "instances")
TOLD = ("mlflow", "mlflow-skinny", "numpy", "pandas", "scikit-learn", "torch", "transformers")


def requests(samples: Path) -> Iterator[dict[str, Any]]:
    """As the gate reads them: every .json file is one, every line of a .jsonl file one, in order of path. One at a time in memory."""
    files = [samples] if samples.is_file() else sorted(file for file in samples.rglob("*") if file.is_file())
    for file in files:
        if file.suffix == ".json":
            yield json.loads(file.read_text(encoding="utf-8-sig"))
        elif file.suffix == ".jsonl":
            for line in file.read_text(encoding="utf-8-sig").splitlines():
                if line.strip():
                    yield json.loads(line)


def model_input(request: dict[str, Any], schema: Any) -> Any:
    """The request's rows as MLflow's scoring server hands them to the model: a frame, or arrays for a tensor signature."""
    import numpy as np
    import pandas as pd

    data = next(request[name] for name in ROWS_UNDER if name in request)
    if schema is not None and schema.is_tensor_spec():
        kinds = {spec.name: spec.type for spec in schema.inputs}
        if isinstance(data, dict) and "data" in data and "data" not in kinds:
            data = data["data"]
        if isinstance(data, dict):
            return {name: np.array(value, dtype=kinds.get(name)) for name, value in data.items()}
        return np.array(data, dtype=next(iter(kinds.values())))
    names = schema.input_names() if schema is not None else None
    if isinstance(data, dict) and "data" in data:
        frame = pd.DataFrame(data["data"], columns=data.get("columns", names))
    elif isinstance(data, list) and data and isinstance(data[0], dict):
        frame = pd.DataFrame.from_records(data)
    elif isinstance(data, dict):
        frame = pd.DataFrame(data)
    else:
        frame = pd.DataFrame([row if isinstance(row, list) else [row] for row in data], columns=names)
    return _typed(frame, schema)


def _typed(frame: Any, schema: Any) -> Any:
    """JSON knows one kind of number; the signature says which one the model was trained with."""
    if schema is None:
        return frame
    kinds = {spec.name: str(getattr(spec.type, "name", spec.type)) for spec in schema.inputs}
    wanted = {"integer": "int32", "long": "int64", "float": "float32", "double": "float64", "boolean": "bool"}
    return frame.astype({name: wanted[kinds[name]] for name in frame.columns if kinds.get(name) in wanted and not frame[name].isna().any()})


def plain(value: Any, as_served: bool = False) -> Any:
    """Predictions as JSON lists; NaN and infinities as text, which JSON has no other way to say, or as Python writes them."""
    import numpy as np
    import pandas as pd

    if isinstance(value, pd.DataFrame):
        return [plain(row, as_served) for row in value.to_dict(orient="records")]
    if isinstance(value, pd.Series | np.ndarray):
        return plain(value.tolist(), as_served)
    if isinstance(value, np.generic):
        return plain(value.item(), as_served)
    if isinstance(value, dict):
        return {str(name): plain(item, as_served) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, as_served) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) and not as_served else value


def rows_of(predictions: Any) -> Any:
    """Named outputs come as columns of one length: as rows, which is how they are compared."""
    if not isinstance(predictions, dict) or not all(isinstance(values, list) for values in predictions.values()):
        return predictions
    if len({len(values) for values in predictions.values()}) != 1:
        return predictions
    return [dict(zip(predictions, values, strict=True)) for values in zip(*predictions.values(), strict=True)]


def reads_by_place(model: Any, first: Any) -> bool | None:
    """Whether the same rows with their columns in reverse are predicted otherwise; None when they can't be reversed."""
    import pandas as pd

    if not isinstance(first, pd.DataFrame) or first.shape[1] < 2:
        return None
    # Behind MLflow's signature, which would put the columns right first.
    inner = getattr(model, "_model_impl", model)
    try:
        return plain(inner.predict(first)) != plain(inner.predict(first[first.columns[::-1]]))
    except Exception:  # a model may refuse them, which is as good as reading by name
        return False


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in TOLD:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--samples", type=Path, required=True)
    parser.add_argument("--result", type=Path, required=True)
    parser.add_argument("--max-rows", type=int, required=True)
    parser.add_argument("--as-served", action="store_true", help="NaN stays NaN, as a server answers it")
    arguments = parser.parse_args()
    arguments.result.mkdir(parents=True, exist_ok=True)
    root = arguments.model if (arguments.model / "MLmodel").exists() else next(
        (file.parent for file in sorted(arguments.model.glob("*/MLmodel"))), arguments.model)

    def failed(phase: str, error: BaseException) -> int:
        told = {"phase": phase, "error": f"{type(error).__name__}: {error}"[:2000], "versions": versions()}
        (arguments.result / "failure.json").write_text(json.dumps(told))
        print(f"the model could not {phase}: {told['error']}", file=sys.stderr)
        return 0  # the gate judges it: a job that fails is Azure's business

    try:
        import mlflow.pyfunc

        model = mlflow.pyfunc.load_model(str(root))
    except Exception as error:
        return failed("be loaded", error)
    schema = model.metadata.get_input_schema()
    rows, by_place = 0, None
    with (arguments.result / "predictions.jsonl").open("w") as out:
        for number, request in enumerate(requests(arguments.samples), start=1):
            if rows >= arguments.max_rows:
                break
            try:
                given = model_input(request, schema)
                predictions = rows_of(plain(model.predict(given), arguments.as_served))
            except Exception as error:
                return failed(f"predict sample request {number}", error)
            if number == 1:
                by_place = reads_by_place(model, given)
            rows += len(predictions) if isinstance(predictions, list) else 0
            out.write(json.dumps({"request": number, "predictions": predictions}) + "\n")
            print(f"request {number}: {rows} rows so far", flush=True)
    (arguments.result / "summary.json").write_text(json.dumps({"versions": versions(), "rows": rows, "reads_by_place": by_place}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
