"""Train the air-time model and save it in MLflow's format with its signature and an input example."""

from __future__ import annotations

import argparse
import shutil
from importlib.metadata import version
from pathlib import Path

import mlflow.sklearn
import pandas as pd
from mlflow.models import infer_signature
from schema import CATEGORIES, FEATURES, NUMBERS, TARGET
from sklearn.compose import make_column_transformer
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

REQUIREMENTS = ["mlflow-skinny", "cloudpickle", "numpy", "pandas", "scikit-learn", "scipy"]


def fit(training: pd.DataFrame) -> Pipeline:
    """A ridge regression: as good here as boosted trees (README.md), and quick to load."""
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=5), CATEGORIES),
        (StandardScaler(), NUMBERS),
    )
    return make_pipeline(columns, Ridge(alpha=1.0)).fit(training[FEATURES], training[TARGET])


def save(model: Pipeline, training: pd.DataFrame, folder: Path) -> None:
    """Write the MLflow model, replacing what an earlier run left in `folder`."""
    example = training[FEATURES].head(3)
    target = folder / "model"
    shutil.rmtree(target, ignore_errors=True)
    mlflow.sklearn.save_model(
        model,
        str(target),
        # The image that serves it has cloudpickle, not skops (MLflow's default since 3.17).
        serialization_format="cloudpickle",
        signature=infer_signature(example, model.predict(example)),
        input_example=example,
        pip_requirements=[f"{name}=={version(name)}" for name in REQUIREMENTS],
    )
    # Azure ML mounts an output's folder before the step starts, so the model can't replace the folder itself.
    for item in target.iterdir():
        item.replace(folder / item.name)
    target.rmdir()


def train(source: Path, folder: Path) -> int:
    """Train on the CSV file and write the model into `folder`; returns the number of flights."""
    training = pd.read_csv(source)
    folder.mkdir(parents=True, exist_ok=True)
    save(fit(training), training, folder)
    return len(training)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with train.csv")
    parser.add_argument("--model", type=Path, required=True, help="folder for the MLflow model")
    arguments = parser.parse_args()
    print(f"trained on {train(arguments.data / 'train.csv', arguments.model)} flights")


if __name__ == "__main__":
    main()
