"""Values that JSON allows and that no metric, tag or database can hold; patterns and files made to be slow or to break."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from emulator.azure_ml.mlflow.errors import MlflowError
from emulator.azure_ml.mlflow.fields import Fields
from emulator.azure_ml.mlflow.filters import RUNS, matching, parse
from tests.support.workbench import Workbench

HALF = b'"\\ud800"'


@pytest.mark.parametrize(("method", "value"), [
    ("integer", "--5"), ("integer", "5-"), ("integer", "-"), ("number", 10**400), ("number", float("1e999")), ("number", "1"),
])  # fmt: skip
def test_a_number_that_is_none_is_refused(method: str, value: Any) -> None:
    with pytest.raises(MlflowError, match="value"):
        getattr(Fields({"value": value}), method)("value")


async def test_half_a_character_is_refused(bench: Workbench) -> None:
    root = f"/mlflow/v2.0{bench.scope.id}/api/2.0/mlflow"
    run = (await bench.http.post(f"{root}/runs/create", json={})).json()["run"]["info"]["run_id"]
    tag = {"content": b'{"run_id": "%s", "key": "k", "value": %s}' % (run.encode(), HALF)}
    assert (await bench.http.post(f"{root}/runs/set-tag", **tag)).status_code == 400
    history = f"/history/v1.0{bench.scope.id}/runs/{run}"
    assert (await bench.http.patch(f"{history}/tags", content=b'{"k": %s}' % HALF)).status_code == 400
    model = f"{bench.scope.id}/models/half"
    assert (await bench.http.put(model, content=b'{"properties": {"tags": {"k": %s}}}' % HALF)).status_code == 400
    assert (await bench.http.get(history)).status_code == 200


def test_a_pattern_of_many_wildcards_is_matched_in_reasonable_time() -> None:
    clauses = parse(f"run_name LIKE '{'%a' * 40}%b'", RUNS)
    assert not matching(clauses, lambda entity, key: "a" * 4000)
    assert matching(clauses, lambda entity, key: "a" * 4000 + "b")


@pytest.mark.parametrize(("pattern", "text", "holds"), [
    ("%", "", True), ("a%", "ab\nc", True), ("%c", "abc", True), ("a_c", "abc", True), ("a_c", "ac", False), ("%b%", "abc", True),
    ("a%b%c", "a-b-c", True), ("a%b%c", "acb", False), ("ab", "abc", False), ("%ab", "aab", True), ("a%a", "a", False),
    ("%.%", "ab", False),
])  # fmt: skip
def test_what_a_pattern_matches(pattern: str, text: str, holds: bool) -> None:
    assert matching(parse(f"run_name LIKE '{pattern}'", RUNS), lambda entity, key: text) is holds


async def test_a_models_history_tag_that_is_no_list_is_replaced_by_name(bench: Workbench) -> None:
    root = f"/mlflow/v2.0{bench.scope.id}/api/2.0/mlflow"
    run = (await bench.http.post(f"{root}/runs/create", json={})).json()["run"]["info"]["run_id"]
    for text in ("no json", '{"a": 1}'):
        await bench.http.post(f"{root}/runs/set-tag", json={"run_id": run, "key": "mlflow.log-model.history", "value": text})
        answer = await bench.http.post(f"{root}/runs/log-model", json={"run_id": run, "model_json": "{}"})
        assert answer.status_code == 400, answer.text
        assert "mlflow.log-model.history" in answer.json()["message"]


async def test_a_container_without_tags_is_read_by_mlflow(bench: Workbench) -> None:
    sent = {"properties": {"tags": None, "properties": None, "isArchived": None}}
    assert (await bench.http.put(f"{bench.scope.id}/models/bare", json=sent)).status_code == 201
    assert (await bench.http.put(f"{bench.scope.id}/models/counted", json={"properties": {"tags": {"n": 1}}})).status_code == 201
    root = f"/mlflow/v2.0{bench.scope.id}/api/2.0/mlflow"
    found = (await bench.http.get(f"{root}/registered-models/search")).json()["registered_models"]
    assert {one["name"]: one["tags"] for one in found} == {"bare": [], "counted": [{"key": "n", "value": "1"}]}


@pytest.mark.parametrize("text", ["flavors: [a]", "flavors: {a: [b]}", "flavors: {a: x}", "- a", "{"])
async def test_a_model_with_an_odd_description_is_registered(bench: Workbench, text: str) -> None:
    bench.storage.write(bench.scope.account, f"azureml-blobstore-{bench.scope.guid}", "odd/MLmodel", text.encode())
    sent = {"modelUri": "azureml://datastores/workspaceblobstore/paths/odd", "modelType": "mlflow_model"}
    answer = await bench.http.put(f"{bench.scope.id}/models/odd/versions/1", json={"properties": sent})
    assert answer.status_code == 201, answer.text


async def test_a_version_deleted_in_other_letters_is_not_counted(bench: Workbench) -> None:
    sent = {"properties": {"image": "mcr.microsoft.com/azureml/minimal"}}
    for version in ("1", "2"):
        await bench.http.put(f"{bench.scope.id}/environments/counted/versions/{version}", json=sent)
    await bench.http.delete(f"{bench.scope.id}/environments/counted/Versions/2")
    found = (await bench.http.get(f"{bench.scope.id}/environments/counted")).json()["properties"]
    assert (found["latestVersion"], found["nextVersion"]) == ("1", "2")


async def test_an_alias_goes_with_its_version_through_whichever_door(bench: Workbench) -> None:
    root, source = f"/mlflow/v2.0{bench.scope.id}/api/2.0/mlflow", "azureml://datastores/workspaceblobstore/paths/m"
    await bench.http.post(f"{root}/registered-models/create", json={"name": "m"})
    for _ in range(2):  # the number is free again once its version is deleted
        assert (await bench.http.post(f"{root}/model-versions/create", json={"name": "m", "source": source})).status_code == 200
        aliases = (await bench.http.get(f"{root}/registered-models/get", params={"name": "m"})).json()["registered_model"]["aliases"]
        assert aliases == []
        await bench.http.post(f"{root}/registered-models/alias", json={"name": "m", "alias": "champion", "version": "1"})
        assert (await bench.http.delete(f"{bench.scope.id}/models/m/versions/1")).status_code == 200


def test_a_key_whose_writing_was_cut_off_is_made_again(tmp_path: Path) -> None:
    from emulator.azure_ml.jobs.logs import signing_key

    (tmp_path / "cut.key").touch()
    key = signing_key(tmp_path / "cut.key")
    assert len(key) == 32
    assert signing_key(tmp_path / "cut.key") == key
    assert (tmp_path / "cut.key").stat().st_mode & 0o777 == 0o600
