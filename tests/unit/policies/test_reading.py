from __future__ import annotations

import pytest
import yaml

from pilotage.domain.policy import Guardrails
from pilotage.policies import read_guardrails, read_policy

POLICY = """\
apiVersion: pilotage/v1
name: air-time
match:
  workspace: mlw-dev
  model: air-time*
  tags: {candidate: "true"}
scenario: tabular
registry: shared-registry
environment: azureml:air-time-env@latest
stages:
  - name: staging
    workspace: mlw-staging
    target: {endpoint: air-time-stg}
    gates:
      - smoke: {samples: azureml:air-time-requests@latest}
      - metric:
          metric: mae
          holdout: azureml:air-time-holdout@latest
          target: air_time
          max: 15
  - name: production
    workspace: mlw-prod
    target:
      endpoint: air-time
      instances: 2
    approval:
      quorum: 2
      approvers: ["group:ml-leads"]
      expires: P3D
    rollout:
      steps:
        - {traffic: 10, for: PT5S}
        - {traffic: 100, for: PT5S}
on_drift:
  action: retrain
  job: azureml:train@latest
"""


def problems(text: str, guardrails: Guardrails | None = None) -> list[str]:
    policy, found = read_policy(text, "air-time.yaml", guardrails)
    assert (policy is None) == bool(found)
    return [str(problem) for problem in found]


def changed(old: str, new: str) -> str:
    assert POLICY.count(old) == 1, old
    return POLICY.replace(old, new)


def test_the_example_is_a_policy() -> None:
    assert problems(POLICY) == []


@pytest.mark.parametrize(("old", "new", "problem"), [
    # types are never guessed
    ("instances: 2", 'instances: "2"', "25: stages[1].target.instances: this must be a whole number, and '2' is text: "
     "write a whole number, without quotes"),
    ("instances: 2", "instances: yes", "25: stages[1].target.instances: this must be a whole number, and 'yes' is text: "
     "write a whole number, without quotes"),
    ("instances: 2", "instances: true", "25: stages[1].target.instances: this must be a whole number, not true"),
    ("instances: 2", "instances: 010", "25: stages[1].target.instances: this must be a whole number, and '010' is text: "
     "write a whole number, without quotes"),
    ("instances: 2", "instances: 1.5", "25: stages[1].target.instances: this must be a whole number, not 1.5"),
    ("instances: 2", "instances:", "25: stages[1].target.instances: this must be a whole number, not nothing"),
    ("instances: 2", "instances: 0", "25: stages[1].target.instances: input should be greater than or equal to 1"),
    ('candidate: "true"', "candidate: true", "6: match.tags.candidate: this must be text, and true is read as a boolean: put it in quotes"),
    ('candidate: "true"', "candidate: 1", "6: match.tags.candidate: this must be text, and 1 is read as a number: put it in quotes"),
    ("max: 15", 'max: "15"', "20: stages[0].gates[1].metric.max: this must be a number, and '15' is text: write a number, without quotes"),
    ("max: 15", "max: .inf",
     "20: stages[0].gates[1].metric.max: this must be a number, and '.inf' is text: write a number, without quotes"),
    ("max: 15", "max: [15]", "20: stages[0].gates[1].metric.max: this must be a number, not a list"),
    ("name: air-time\nmatch", "name: 12\nmatch", "2: name: this must be text, and 12 is read as a number: put it in quotes"),
    # keys
    ("scenario: tabular", "scenario: tabular\nowner: me", "8: owner: unknown key owner: remove it or correct its name"),
    ("quorum: 2", "quorums: 2", "27: stages[1].approval.quorums: unknown key quorums: remove it or correct its name"),
    ("      - smoke: {samples: azureml:air-time-requests@latest}\n", "      - smoke: {samples: azureml:r@latest, sample: 1}\n",
     "15: stages[0].gates[0].smoke.sample: unknown key sample: remove it or correct its name"),
    ("registry: shared-registry\n", "", "1: registry: this key is missing: add it"),
    ("          target: air_time\n", "", "17: stages[0].gates[1].metric.target: this key is missing: add it"),
    ("      approvers: [\"group:ml-leads\"]\n", "", "27: stages[1].approval.approvers: this key is missing: add it"),
    ("registry: shared-registry", "registry: shared-registry\nregistry: other", "9: registry is given twice, first on line 8: keep one"),
    ("max: 15", "max: 15\n          max: 99", "21: max is given twice, first on line 20: keep one"),
    ("scenario: tabular", "5: tabular", "7: the key 5 is not text: put it in quotes"),
    # values
    ("scenario: tabular", "scenario: audio", "7: scenario: this must be 'tabular', 'vision' or 'language', not audio"),
    ("apiVersion: pilotage/v1", "apiVersion: pilotage/v2", "1: apiVersion: this must be 'pilotage/v1', not pilotage/v2"),
    ("endpoint: air-time\n", "endpoint: a\n", "24: stages[1].target.endpoint: a does not match ^[a-zA-Z][a-zA-Z0-9-]{1,30}[a-zA-Z0-9]$"),
    ("expires: P3D", "expires: 3 days",
     "29: stages[1].approval.expires: '3 days' is not a duration: write ISO 8601 such as PT10M, PT24H or P3D"),
    ("group:ml-leads", "ml-leads", "28: stages[1].approval.approvers[0]: ml-leads does not match ^(user|group):\\S+$"),
    ("traffic: 10,", "traffic: 101,", "32: stages[1].rollout.steps[0].traffic: input should be less than or equal to 100"),
    ("traffic: 100,", "traffic: 90,", "31: stages[1].rollout: the last step must send 100 % of the traffic"),
    ("azureml:air-time-env@latest", "air-time-env:1",
     "1: 'air-time-env:1' is not an asset: write azureml:name:version, azureml:name@latest or "
     "azureml://registries/registry/kind/name/versions/version"),
    # shapes
    ("match:\n  workspace: mlw-dev\n  model: air-time*\n  tags: {candidate: \"true\"}", "match: air-time",
     "3: match: this must be a mapping "
     "(key: value), not text"),
    ("tags: {candidate: \"true\"}", "tags: [candidate]", "6: match.tags: this must be a mapping (key: value), not a list"),
    ("approvers: [\"group:ml-leads\"]", "approvers: group:ml-leads",
     "28: stages[1].approval.approvers: this must be a list (- item), not text"),
    ("approval:\n      quorum: 2\n      approvers: [\"group:ml-leads\"]\n      expires: P3D", "approval: manual",
     "26: stages[1].approval: this must be a mapping (key: value) or 'automatic', not manual"),
    # what no reader could see in the text
    ("registry: shared-registry", "registry: &r shared-registry", "8: anchors and aliases are not supported: write the value out"),
    ("registry: shared-registry", "registry: !!python/name:os.system x",
     "8: the tag tag:yaml.org,2002:python/name:os.system is not supported: "
     "write a plain value"),
    ("registry: shared-registry", "registry: !!binary aGk=", "8: the tag tag:yaml.org,2002:binary is not supported: write a plain value"),
])
def test_a_problem_names_the_line_the_place_and_the_fix(old: str, new: str, problem: str) -> None:
    assert problems(changed(old, new)) == [f"air-time.yaml:{problem}"]


@pytest.mark.parametrize(("text", "problem"), [
    ("", "1: the file is empty: start with apiVersion: pilotage/v1"),
    ("# nothing\n", "1: the file is empty: start with apiVersion: pilotage/v1"),
    ("- a\n", "1: the file must be a mapping that starts with apiVersion: pilotage/v1"),
    ("a: [1\nb: 2\n", "2: this is not valid YAML: expected ',' or ']', but got ':'"),
    ("a: 1\n---\nb: 2\n", "2: this is not valid YAML: but found another document"),
    ("\ta: 1\n", "1: this is not valid YAML: found character '\\t' that cannot start any token"),
    ("a: \x00\n", "1: this is not valid YAML: it holds the character #x0000"),
    ("a: " + "[" * 40 + "]" * 40, "1: nested deeper than 32 levels"),
    ("a: " + "[" * 5000, "1: this is not valid YAML"),
    ("a: !!int x", "1: this is not valid YAML"),
    ("#" * 300_000, "1: the file has 300000 characters; the limit is 262144"),
])
def test_what_is_no_policy_file_is_told_with_its_line(text: str, problem: str) -> None:
    (found,) = problems(text)
    assert found.startswith(f"air-time.yaml:{problem}")


def test_all_problems_are_told_at_once_in_the_order_of_their_lines() -> None:
    found = problems(POLICY.replace("instances: 2", 'instances: "2"').replace("scenario: tabular", "scenarios: tabular"))
    assert [line.split(":")[1] for line in found] == ["1", "7", "25"]


def test_words_that_yaml_1_1_takes_for_booleans_and_times_stay_text() -> None:
    policy, found = read_policy(changed('tags: {candidate: "true"}', "tags: {a: yes, b: off, c: 12:30, d: 2026-01-05}"), "p.yaml")
    assert found == []
    assert policy is not None
    assert policy.match.tags == {"a": "yes", "b": "off", "c": "12:30", "d": "2026-01-05"}


def test_durations_and_the_word_for_are_read() -> None:
    policy, _ = read_policy(POLICY, "p.yaml")
    assert policy is not None
    assert [(step.traffic, step.bake.total_seconds()) for step in policy.rollout.steps] == [(10, 5), (100, 5)]


def test_a_policy_survives_its_own_wire_form() -> None:
    policy, _ = read_policy(POLICY, "p.yaml")
    assert policy is not None
    assert read_policy(yaml.safe_dump(policy.wire()), "p.yaml")[0] == policy


@pytest.mark.parametrize(("floors", "change", "problem"), [
    ({"min_quorum": 3}, ("quorum: 2", "quorum: 2"), "27: approval.quorum is 2; the guardrails ask for 3 or more"),
    ({"max_approval_expiry": "P1D"}, ("quorum: 2", "quorum: 2"), "29: approval.expires is P3D; the guardrails allow P1D at most"),
    ({}, ("approval:\n      quorum: 2\n      approvers: [\"group:ml-leads\"]\n      expires: P3D", "approval: automatic"),
     "26: production approval is automatic; the guardrails ask for people"),
    ({"require_environment": True}, ("environment: azureml:air-time-env@latest\n", ""),
     "1: environment is not set; the guardrails ask for a pinned environment"),
])
def test_a_policy_below_the_guardrails_is_refused_at_its_line(floors: dict[str, object], change: tuple[str, str], problem: str) -> None:
    guardrails = Guardrails.model_validate({"apiVersion": "pilotage/v1", **floors})
    assert problems(changed(*change), guardrails) == [f"air-time.yaml:{problem}"]


@pytest.mark.parametrize(("text", "problem"), [
    ("apiVersion: pilotage/v1\nmin_quorums: 2\n", "2: min_quorums: unknown key min_quorums: remove it or correct its name"),
    ('apiVersion: pilotage/v1\nallow_automatic_production: "false"\n',
     "2: allow_automatic_production: this must be true or false, and 'false' is text: write true or false, without quotes"),
    ("apiVersion: pilotage/v1\nsubmitters: {ada: 1}\n",
     "2: submitters.ada: this must be text, and 1 is read as a number: put it in quotes"),
])
def test_guardrails_are_read_as_strictly(text: str, problem: str) -> None:
    guardrails, found = read_guardrails(text, "guardrails.yaml")
    assert guardrails is None
    assert [str(item) for item in found] == [f"guardrails.yaml:{problem}"]


WINDOWS = """\
    windows:
      timezone: Europe/Paris
      allow:
        - rule: FREQ=WEEKLY;BYDAY=MO;BYHOUR=9
          for: PT8H
    rollout:
"""


@pytest.mark.parametrize(("old", "new", "problem"), [
    ("Europe/Paris", "Europe/Pari",
     "31: stages[1].windows.timezone: timezone 'Europe/Pari' is not known: write an IANA name such as Europe/Paris"),
    ("BYDAY=MO", "BYDAY=MON", "33: stages[1].windows.allow[0].rule: BYDAY=MON is no weekday: use MO, TU, WE, TH, FR, SA, SU"),
    ("PT8H", "P8D", "34: stages[1].windows.allow[0].for: for is longer than the time after which the rule comes again, so there is no time "
     "outside: use at most P7D, or a rarer rule"),
    ("PT8H", "PT8H\n          from: 1 May", "35: stages[1].windows.allow[0].from: '1 May' is no day: write it such as 2026-01-05"),
], ids=["timezone", "rule", "for", "from"])
def test_what_is_wrong_with_windows_is_told_at_its_line(old: str, new: str, problem: str) -> None:
    assert problems(changed("    rollout:\n", WINDOWS.replace(old, new))) == [f"air-time.yaml:{problem}"]


def test_a_freeze_of_the_guardrails_is_told_at_its_line() -> None:
    text = ("apiVersion: pilotage/v1\nfreezes:\n  - {from: 2026-12-18T18:00, until: 2026-12-20T18:00, timezone: Mars/Olympus, reason: x}\n"
            "  - from: soon\n    until: 2020-12-20T18:00Z\n    reason: over\n")
    guardrails, found = read_guardrails(text, "guardrails.yaml")
    assert guardrails is None
    assert [str(item) for item in found] == [
        "guardrails.yaml:3: freezes[0].timezone: timezone 'Mars/Olympus' is not known: write an IANA name such as Europe/Paris",
        "guardrails.yaml:4: freezes[1].from: 'soon' is no time; write it such as 2026-12-20T18:00"]
