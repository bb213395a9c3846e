"""Scores files with any MLflow model without code: the script that a batch deployment gets when it names none.

Run by `batch_driver.py` in this image's venv. Tables (csv, parquet, json, jsonl) are read as pandas reads them, with the
types that the model's signature has; each of their rows becomes a row of the output: its number in the file, the
prediction, and the file's name, as Azure writes them. A file of another kind fails
(learn.microsoft.com/azure/machine-learning/how-to-mlflow-batch, "Considerations when deploying to batch inference").
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.pyfunc import PyFuncModel

_model: PyFuncModel | None = None


def init() -> None:
    """Load the model below `AZUREML_MODEL_DIR`."""
    import mlflow.pyfunc

    global _model
    _model = mlflow.pyfunc.load_model(str(model_folder(Path(os.environ["AZUREML_MODEL_DIR"]))))


def run(mini_batch: list[str]) -> pd.DataFrame:
    """One row for each row of each file."""
    import pandas as pd

    if _model is None:
        raise RuntimeError("init() has not run")
    parts = []
    for name in mini_batch:
        path = Path(name)
        frame = read(path)
        predictions = column(_model.predict(typed(frame, _model)), len(frame))
        parts.append(pd.DataFrame({"row": range(len(frame)), "prediction": predictions, "file": path.name}))
    return pd.concat(parts, ignore_index=True)


def read(path: Path) -> pd.DataFrame:
    import pandas as pd

    match path.suffix.lower():
        case ".csv":
            return pd.read_csv(path)
        case ".parquet":
            return pd.read_parquet(path)
        case ".json":
            return pd.read_json(path)
        case ".jsonl":
            return pd.read_json(path, lines=True)
    raise ValueError(f"Error processing input file: '{path}'. File type '{path.suffix.lstrip('.')}' is not supported.")


def typed(frame: pd.DataFrame, model: PyFuncModel) -> pd.DataFrame:
    """Whole numbers where the signature has floating-point ones: a file of text can't tell them apart."""
    schema = model.metadata.get_input_schema()
    if schema is None or schema.is_tensor_spec() or not schema.has_input_names():
        return frame
    for item in schema.inputs:
        kind = getattr(getattr(item, "type", None), "name", "")
        if item.name in frame and kind in ("double", "float") and frame[item.name].dtype.kind in "iu":
            frame[item.name] = frame[item.name].astype("float64" if kind == "double" else "float32")
    return frame


def column(predictions: Any, rows: int) -> list[Any]:
    """One value for each row; a model that predicts several columns gives a list or record each."""
    if hasattr(predictions, "to_dict") and hasattr(predictions, "columns"):
        values = predictions.to_dict(orient="records")
        values = [next(iter(value.values())) if len(value) == 1 else value for value in values]
    elif hasattr(predictions, "tolist"):
        values = predictions.tolist()
    else:
        values = list(predictions)
    if len(values) != rows:
        raise ValueError(f"The model answered {len(values)} predictions for {rows} rows.")
    return values


def model_folder(root: Path) -> Path:
    """The folder with the `MLmodel` file: `root`, or the one folder below it."""
    if (root / "MLmodel").is_file():
        return root
    found = sorted(path.parent for path in root.glob("*/MLmodel"))
    if len(found) != 1:
        raise FileNotFoundError(f"expected one MLmodel file in {root} or one level below it, found {len(found)}")
    return found[0]
