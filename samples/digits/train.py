"""Handwritten digits: a vision sample on real pictures, 8 x 8 pixels, that scikit-learn ships (UCI ML, Alpaydin and Kaynak).

Writes into the output folder:
  model/           an MLflow model whose signature is a tensor: 64 grey values (0 to 16) a picture
  holdout.csv      pictures it was not trained on: p0 to p63, `ink` (faint or strong: a cohort, never sent to the model), `digit`
  requests.jsonl   scoring requests of three pictures
Run it with the training image's Python.
"""

from __future__ import annotations

import argparse
import csv
import json
from importlib.metadata import version
from pathlib import Path

import mlflow.sklearn
import numpy as np
from mlflow.models import infer_signature
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

REQUIREMENTS = ["mlflow-skinny", "cloudpickle", "numpy", "pandas", "scikit-learn", "scipy"]
SEED = 2013


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    digits = load_digits()
    seen, held, seen_labels, held_labels = train_test_split(digits.data, digits.target, test_size=0.4, random_state=SEED)
    model = LogisticRegression(max_iter=2000).fit(seen, seen_labels)
    mlflow.sklearn.save_model(
        model, str(output / "model"), serialization_format="cloudpickle", signature=infer_signature(seen[:3], model.predict(seen[:3])),
        pip_requirements=[f"{name}=={version(name)}" for name in REQUIREMENTS])
    middle = float(np.median(held.sum(axis=1)))
    with (output / "holdout.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*(f"p{place}" for place in range(64)), "ink", "digit"])
        for picture, label in zip(held, held_labels, strict=True):
            writer.writerow([*map(int, picture), "strong" if picture.sum() > middle else "faint", int(label)])
    lines = (json.dumps({"input_data": held[at:at + 3].tolist()}) for at in range(0, 60, 3))
    (output / "requests.jsonl").write_text("\n".join(lines) + "\n")
    print(f"{len(seen)} pictures to train on, {len(held)} held out, accuracy {model.score(held, held_labels):.3f}")


if __name__ == "__main__":
    main()
