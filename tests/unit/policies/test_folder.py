from __future__ import annotations

import json
import os
from pathlib import Path

import jsonschema
import pytest

from pilotage.document import parse
from pilotage.errors import InvalidPolicy
from pilotage.policies import FolderPolicies, policy_schema
from pilotage.policies.schema import schema_text
from tests.unit.policies.test_reading import POLICY

ROOT = Path(__file__).parents[3]
GUARDRAILS = "apiVersion: pilotage/v1\nmin_quorum: 2\n"


def write(folder: Path, **files: str) -> FolderPolicies:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return FolderPolicies(folder)


def other(text: str = POLICY, *, name: str = "other", endpoint: str = "other", model: str = "other*") -> str:
    return (text.replace("name: air-time\n", f"name: {name}\n").replace("endpoint: air-time\n", f"endpoint: {endpoint}\n")
            .replace("model: air-time*", f"model: {model}"))


def test_one_broken_file_leaves_the_others_standing(tmp_path: Path) -> None:
    source = write(tmp_path, good=POLICY, bad=other().replace("quorum: 2", 'quorum: "2"'))
    assert [policy.name for policy in source.policies()] == ["air-time"]
    (problem,) = source.problems()
    assert problem.startswith("bad.yaml:27: stages[1].approval.quorum: this must be a whole number")


def test_a_file_that_changes_is_read_again_and_one_that_does_not_is_not(tmp_path: Path) -> None:
    source = write(tmp_path, p=POLICY)
    before = source.policies()
    assert source.policies()[0] is before[0]
    (tmp_path / "p.yaml").write_text(other(name="renamed"))
    os.utime(tmp_path / "p.yaml", ns=(1, 1))
    assert [policy.name for policy in source.policies()] == ["renamed"]
    (tmp_path / "q.yaml").write_text(POLICY)
    assert [policy.name for policy in source.policies()] == ["renamed", "air-time"]


def test_two_policies_that_reach_one_endpoint_for_one_model_are_both_refused(tmp_path: Path) -> None:
    source = write(tmp_path, a=POLICY, b=other(name="twin", endpoint="air-time", model="air-time-v2"), c=other())
    assert [policy.name for policy in source.policies()] == ["other"]
    assert [problem.split(":")[0] for problem in source.problems()] == ["a.yaml", "b.yaml"]
    assert "b.yaml brings the same models (air-time-v2) to the endpoint mlw-prod/air-time" in source.problems()[0]


def test_two_policies_of_one_name_are_both_refused(tmp_path: Path) -> None:
    source = write(tmp_path, a=POLICY, b=other(name="Air-Time"))
    assert source.policies() == ()
    assert source.problems() == ["a.yaml:1: name: b.yaml has the name air-time too: rename one",
                                 "b.yaml:1: name: a.yaml has the name Air-Time too: rename one"]


def test_policies_below_the_guardrails_are_left_out(tmp_path: Path) -> None:
    source = write(tmp_path, guardrails=GUARDRAILS, good=POLICY, low=other().replace("quorum: 2", "quorum: 1"))
    assert [policy.name for policy in source.policies()] == ["air-time"]
    assert source.problems() == ["low.yaml:27: approval.quorum is 1; the guardrails ask for 2 or more"]
    assert source.guardrails().min_quorum == 2


def test_guardrails_that_cannot_be_read_leave_every_policy_out(tmp_path: Path) -> None:
    source = write(tmp_path, guardrails="apiVersion: pilotage/v1\nmin_quorum: many\n", good=POLICY)
    assert source.policies() == ()
    assert source.problems()[0] == "good.yaml:1: left out until guardrails.yaml is valid"
    with pytest.raises(InvalidPolicy, match=r"guardrails.yaml:2: min_quorum: this must be a whole number"):
        source.guardrails()


def test_without_guardrails_the_safe_floors_hold(tmp_path: Path) -> None:
    source = write(tmp_path, p=POLICY)
    assert source.guardrails().allow_automatic_production is False


def test_a_file_in_another_encoding_is_told(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_bytes("name: größe\n".encode("latin-1"))
    assert FolderPolicies(tmp_path).problems() == ["p.yaml:1: byte 8 is not UTF-8: save the file as UTF-8"]


def test_a_folder_that_is_not_there_is_told() -> None:
    with pytest.raises(InvalidPolicy, match="set PILOTAGE_POLICIES"):
        FolderPolicies(Path("no-such-folder")).policies()


def test_the_policies_of_this_repository_load() -> None:
    source = FolderPolicies(ROOT / "policies")
    assert source.problems() == []
    assert {policy.scenario for policy in source.policies()} == {"tabular", "vision", "language"}


def test_the_published_schema_is_the_models() -> None:
    """`make schema` writes it."""
    assert (ROOT / "policies" / "schema.json").read_text() == schema_text()


def test_the_schema_knows_every_key_and_refuses_others() -> None:
    schema = policy_schema()
    step = schema["$defs"]["Step"]
    assert set(step["properties"]) == {"traffic", "for"}
    assert all(part["additionalProperties"] is False for part in schema["$defs"].values() if part["type"] == "object")
    assert json.loads(schema_text()) == schema


@pytest.mark.parametrize("file", sorted(file.name for file in (ROOT / "policies").glob("*.yaml") if file.name != "guardrails.yaml"))
def test_the_schema_accepts_our_policies_as_editors_read_them(file: str) -> None:
    jsonschema.validate(parse((ROOT / "policies" / file).read_text(), "apiVersion").value, policy_schema())


@pytest.mark.parametrize(("old", "new"), [
    ("quorum: 2", 'quorum: "2"'), ("scenario: tabular", "scenario: audio"), ("registry: shared-registry\n", ""),
    ("name: air-time\n", "nam: a\n"),
])
def test_the_schema_refuses_what_reading_refuses(old: str, new: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(parse(POLICY.replace(old, new, 1), "apiVersion").value, policy_schema())
