"""The images' lock files: what a model is trained with is what serves it, and anyone can install it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[4]
IMAGES = ROOT / "emulator" / "images"
PICKLED_WITH = ("cloudpickle", "mlflow-skinny", "numpy", "pandas", "scikit-learn", "scipy")


def versions(image: str) -> dict[str, str]:
    lock = tomllib.loads((IMAGES / image / "uv.lock").read_text())
    return {package["name"]: package["version"] for package in lock["package"]}


@pytest.mark.parametrize("package", PICKLED_WITH)
def test_both_images_have_the_same_version_of_what_is_in_a_pickle(package: str) -> None:
    assert versions("training")[package] == versions("inference")[package]


@pytest.mark.parametrize("image", ["training", "inference"])
def test_everything_comes_from_the_public_index(image: str) -> None:
    hosts = set(re.findall(r"https?://([^/\"]+)", (IMAGES / image / "uv.lock").read_text()))
    assert hosts == {"pypi.org", "files.pythonhosted.org"}


def test_jobs_have_the_same_sdk_as_the_app() -> None:
    app = tomllib.loads((ROOT / "uv.lock").read_text())
    pinned = {package["name"]: package["version"] for package in app["package"]}
    assert versions("training")["azure-ai-ml"] == pinned["azure-ai-ml"]
    assert versions("training")["azure-identity"] == pinned["azure-identity"]


@pytest.mark.parametrize("image", ["training", "inference"])
def test_the_samples_environments_name_the_versions_of_the_image(image: str) -> None:
    conda = yaml.safe_load((ROOT / "samples" / "flights" / "environments" / f"{image}.conda.yaml").read_text())
    pinned = dict(requirement.split("==") for requirement in conda["dependencies"][-1]["pip"])
    assert pinned == {name: versions(image)[name] for name in pinned}
    assert set(PICKLED_WITH) <= set(pinned)
