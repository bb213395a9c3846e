"""A seed's file, before anything is made of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulator.seeding import InvalidSeed, read


def test_an_item_keeps_what_is_azures(tmp_path: Path) -> None:
    path = tmp_path / "seed.yaml"
    path.write_text("- {kind: model, name: iris, version: 1, path: ./model}\n- {kind: deployment, name: blue, endpoint_name: e}\n")
    model, deployment = read(path)
    assert (model.version, model.model_extra) == ("1", {"path": "./model"})
    assert deployment.model_extra == {"endpoint_name": "e"}


@pytest.mark.parametrize(("text", "words"), [
    ("- {kind: deployment, name: blue}", "needs an endpoint_name"),
    ("- {kind: deployment, name: blue, endpoint_name: ''}", "needs an endpoint_name"),
    ("- {kind: model, name: iris}", "needs a version"), ("- {kind: job, name: j}", "0.kind"), ("- {kind: model}", "name"),
    ("kind: model", "a list of items"), ("- [", "can't be read")])
def test_what_is_no_seed(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "seed.yaml"
    path.write_text(text)
    with pytest.raises(InvalidSeed, match=words):
        read(path)


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    for name in ("nowhere", "bytes"):
        with pytest.raises(InvalidSeed, match="can't be read"):
            read(tmp_path / name)
