"""Paragraphs to topics: a language sample on real text, the help topics that Python ships (pydoc_data.topics).

Writes into the output folder:
  model/           an MLflow model of one text column
  holdout.csv      paragraphs it was not trained on: `text`, `length` (a cohort, never sent to the model), `topic`
  requests.jsonl   scoring requests of two paragraphs
Run it with the training image's Python.
"""

from __future__ import annotations

import argparse
import csv
import json
from importlib.metadata import version
from pathlib import Path
from pydoc_data.topics import topics

import mlflow.sklearn
import pandas as pd
from mlflow.models import infer_signature
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

REQUIREMENTS = ["mlflow-skinny", "cloudpickle", "numpy", "pandas", "scikit-learn", "scipy"]
SEED = 2013
CHOSEN = ("debugger", "string-methods", "typesseq", "compound")
SHORTEST = 80
"""Characters of a paragraph: less is a heading."""


def paragraphs() -> pd.DataFrame:
    rows = [(" ".join(text.split()), topic) for topic in CHOSEN for text in topics[topic].split("\n\n")]
    return pd.DataFrame([row for row in rows if len(row[0]) >= SHORTEST], columns=["text", "topic"]).drop_duplicates("text")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    every = paragraphs()
    seen, held = train_test_split(every, test_size=0.5, random_state=SEED, stratify=every["topic"])
    words = make_column_transformer((TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2)), "text"))
    model = make_pipeline(words, LogisticRegression(C=30, max_iter=2000, class_weight="balanced")).fit(seen[["text"]], seen["topic"])
    example = seen[["text"]].head(3)
    mlflow.sklearn.save_model(
        model, str(output / "model"), serialization_format="cloudpickle", signature=infer_signature(example, model.predict(example)),
        pip_requirements=[f"{name}=={version(name)}" for name in REQUIREMENTS])
    middle = held["text"].str.len().median()
    with (output / "holdout.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["text", "length", "topic"])
        writer.writerows((text, "long" if len(text) > middle else "short", topic) for text, topic in held.itertuples(index=False))
    texts = held["text"].tolist()
    lines = (json.dumps({"input_data": {"columns": ["text"], "index": [0, 1], "data": [[text] for text in texts[at:at + 2]]}})
             for at in range(0, 40, 2))
    (output / "requests.jsonl").write_text("\n".join(lines) + "\n")
    print(f"{len(seen)} paragraphs to train on, {len(held)} held out, accuracy {model.score(held[['text']], held['topic']):.3f}")


if __name__ == "__main__":
    main()
