"""The examples of callbacks, run against the endpoint: what ServiceNow, Jira and GitHub would send is sent, and decides.

docs/examples/callbacks has them; who changes the endpoint's contract changes them too.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import yaml

from pilotage import bootstrap
from pilotage.domain.notices import DECISIONS, WHY
from pilotage.domain.phase import PromotionPhase
from pilotage.messages import ApprovalRequest
from pilotage.ports import Notification
from tests.support.desk import Desk
from tests.support.http_host import serving
from tests.support.receivers import Posts, listening
from tests.support.routes import DurableClient

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "docs" / "examples" / "callbacks"
SERVICENOW = ROOT / "tests" / "support" / "servicenow.mjs"


class Asked:
    """A promotion that asks a machine for its approval, the app that takes it, and what the webhook told."""

    def __init__(self, desk: Desk, address: str) -> None:
        self.desk, self.address = desk, address
        self.row = desk.promotion(PromotionPhase.AWAITING_APPROVAL)
        self.request: ApprovalRequest
        self.request, token = desk.open_approval(self.row, approvers=("user:oid-change",))
        desk.actor("change", "Approver")
        self.told = Notification(
            kind="awaiting_approval", title="air-time:1 awaits approval", why=WHY["awaiting_approval"], text="Gates passed: smoke",
            promotion=self.row.id, link="https://p/review", decision_url="https://elsewhere.example/", link_token=token,
            facts={"target": "mlw-prod/air-time"}, gates={"smoke": "passed: fine"}).model_dump(mode="json")

    def vote(self) -> tuple[str, str, str, str]:
        [vote] = self.desk.votes(self.request)
        return vote.voter, vote.decision.value, vote.reference, vote.reason


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Asked]:
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    desk = Desk()
    bootstrap.use(desk.app())
    with serving(DurableClient(desk.orchestrator)) as address:
        yield Asked(desk, address)
    bootstrap.use(None)


# --- ServiceNow -------------------------------------------------------------------------------------------


def servicenow(script: str, **about: Any) -> dict[str, Any]:
    """What a ServiceNow script did, run by node."""
    ran = subprocess.run(["node", str(SERVICENOW), str(EXAMPLES / "servicenow" / script)], input=json.dumps(about), capture_output=True,
                         text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    return dict(json.loads(ran.stdout))


def change_of(asked: Asked, **fields: str) -> dict[str, Any]:
    """The change that the webhook's message opens, as people then decide it."""
    opened = servicenow("inbound.js", body=asked.told)
    assert opened["status"] == 202
    [change] = opened["tables"]["change_request"]
    return {**change, "number": "CHG0042", **fields}


def decide(asked: Asked, change: dict[str, Any]) -> dict[str, Any]:
    return servicenow("decision.js", current=change, token="change", properties={
        "pilotage.url": asked.address, "pilotage.oauth_profile": "profile-1"})


@pytest.mark.parametrize(("approval", "decision", "state"), [("approved", "approve", "approved"), ("rejected", "reject", "rejected")],
                         ids=["approved", "rejected"])
def test_a_change_that_is_decided_in_servicenow_decides(asked: Asked, approval: str, decision: str, state: str) -> None:
    change = change_of(asked, approval=approval)
    assert "gate smoke: passed: fine" in change["description"]
    done = decide(asked, change)
    assert asked.vote() == ("oid-change", decision, "CHG0042", f"change CHG0042 was {approval}")
    assert done["profile"] == ["oauth2", "profile-1"]
    assert done["current"]["work_notes"] == f"Pilotage has recorded it: the approval is {state}."
    assert done["errors"] == []


def test_what_is_refused_becomes_a_work_note(asked: Asked) -> None:
    change = change_of(asked, approval="approved", u_pilotage_link_token="another")
    done = decide(asked, change)
    assert done["current"]["work_notes"].startswith("Pilotage did not record it (403): ")
    assert len(done["errors"]) == 1
    assert asked.desk.votes(asked.request) == []
    assert "work_notes" not in decide(asked, {**change, "approval": "requested"})["current"], "nothing is decided yet"


def test_a_reminder_brings_the_change_up_to_date_and_a_decided_one_stays(asked: Asked) -> None:
    change = change_of(asked)
    again = servicenow("inbound.js", body=asked.told | {"kind": "reminder", "link_token": "newer"}, tables={"change_request": [change]})
    [updated] = again["tables"]["change_request"]
    assert (updated["number"], updated["u_pilotage_link_token"]) == ("CHG0042", "newer")
    decided = servicenow("inbound.js", body=asked.told | {"kind": "plan_changed"},
                         tables={"change_request": [{**change, "approval": "approved"}]})
    assert len(decided["tables"]["change_request"]) == 2
    other = servicenow("inbound.js", body=asked.told | {"kind": "decided"})
    assert (other["status"], other["tables"].get("change_request", [])) == (204, [])


# --- Jira -------------------------------------------------------------------------------------------------


def filled(text: str, values: Mapping[str, str]) -> str:
    """A text of an automation rule with its smart values. Raises KeyError for one that Jira would leave empty."""
    return re.sub(r"\{\{([^}]+)\}\}", lambda match: values[match[1]], text)


def jira_request(component: dict[str, Any], values: Mapping[str, str], secrets: Mapping[str, str]) -> httpx.Request:
    """The request of the action `Send web request`."""
    action = component["value"]
    assert component["type"] == "jira.issue.outgoing.webhook"
    headers = {header["name"]: secrets[header["value"]["keyOrValue"]] if header["value"]["secret"]
               else filled(header["value"]["keyOrValue"], values) for header in action["headers"]}
    return httpx.Request(action["method"], filled(action["url"], values), headers=headers, content=filled(action["customBody"], values))


@pytest.mark.parametrize(("status", "decision"), [("Approved", "approve"), ("Rejected", "reject")], ids=["approved", "rejected"])
def test_a_work_item_that_is_moved_in_jira_decides(asked: Asked, status: str, decision: str) -> None:
    rules = json.loads((EXAMPLES / "jira" / "automation-rule.json").read_text())["rules"]
    [rule] = [rule for rule in rules if [to["value"] for to in rule["trigger"]["value"]["toStatus"]] == [status]]
    values = {"issue.key": "ML-7", "issue.Pilotage promotion": asked.told["promotion"],
              "issue.Pilotage link token": asked.told["link_token"]}
    sign_in, decide = rule["components"]
    token = jira_request(sign_in, values, {"pilotage-client": "Basic aWQ6c2VjcmV0"})
    assert token.headers["Authorization"] == "Basic aWQ6c2VjcmV0"
    assert re.fullmatch(r"/\w+/oauth2/v2\.0/token", token.url.path)
    assert parse_qs(token.content.decode()) == {"grant_type": ["client_credentials"], "scope": ["api://pilotage/.default"]}
    sent = jira_request(decide, {**values, "webhookResponse.body.access_token": "change"}, {})
    answer = httpx.post(f"{asked.address}{sent.url.path}", headers=dict(sent.headers), content=sent.content, trust_env=False)
    assert answer.status_code == 202, answer.text
    assert asked.vote() == ("oid-change", decision, "ML-7", f"ML-7 became {status}")


# --- GitHub -----------------------------------------------------------------------------------------------


def relayed(asked: Asked, **changes: str) -> list[tuple[str, Any]]:
    """What the relay sends to GitHub."""
    with listening(Posts()) as github:
        subprocess.run([sys.executable, str(EXAMPLES / "github" / "relay.py")], input=json.dumps({**asked.told, **changes}), text=True,
                       check=True, timeout=60, env={"GITHUB_API_URL": f"http://127.0.0.1:{github.port}", "GITHUB_REPOSITORY": "org/models",
                                                    "GITHUB_TOKEN": "gh"})
    return list(zip(github.paths, github.bodies, strict=True))


def job_approves(asked: Asked, event: Any, folder: Path, environment: str = "production") -> subprocess.CompletedProcess[str]:
    """Runs the workflow's own step, with an `az` that is signed in."""
    job = yaml.safe_load((EXAMPLES / "github" / "pilotage-decision.yml").read_text())["jobs"]["approve"]
    assert job["environment"]["name"] == environment
    step = next(step for step in job["steps"] if step.get("name") == "Approve")
    values = {"vars.PILOTAGE_URL": asked.address, "vars.PILOTAGE_AUDIENCE": "api://pilotage"}
    env = {name: re.sub(r"\$\{\{\s*(\S+)\s*\}\}", lambda match: values[match[1]], text) for name, text in step["env"].items()}
    (folder / ".github" / "pilotage").mkdir(parents=True, exist_ok=True)
    (folder / ".github" / "pilotage" / "decide.py").write_text((EXAMPLES / "github" / "decide.py").read_text())
    (folder / "event.json").write_text(json.dumps(event))
    az = folder / "az"
    az.write_text('#!/bin/sh\ntest "$1 $2 $3 $4" = "account get-access-token --resource api://pilotage" && echo change\n')
    az.chmod(0o755)
    return subprocess.run(["bash", "-e", "-c", step["run"]], cwd=folder, capture_output=True, text=True, timeout=60, env={
        **env, "PATH": f"{folder}:/usr/bin:/bin", "GITHUB_EVENT_PATH": str(folder / "event.json"), "GITHUB_RUN_ID": "99",
        "GITHUB_SERVER_URL": "https://github.example", "GITHUB_REPOSITORY": "org/models"})


def test_a_job_that_an_environments_reviewers_let_start_approves(asked: Asked, tmp_path: Path) -> None:
    [(path, event)] = relayed(asked)
    workflow = yaml.safe_load((EXAMPLES / "github" / "pilotage-decision.yml").read_text())
    assert (path, event["event_type"]) == ("/repos/org/models/dispatches", workflow[True]["repository_dispatch"]["types"][0])
    assert len(event["client_payload"]) <= 10, "GitHub takes no more"
    ran = job_approves(asked, event, tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "recorded: the approval of" in ran.stdout
    assert asked.vote()[:3] == ("oid-change", "approve", "https://github.example/org/models/actions/runs/99")
    assert asked.told["link_token"] not in ran.stdout
    again = job_approves(asked, event, tmp_path)
    assert again.returncode == 0, "a job that is run again says what it said before"
    assert len(asked.desk.votes(asked.request)) == 1


def test_a_job_that_comes_too_late_fails_and_says_why(asked: Asked, tmp_path: Path) -> None:
    [(_, event)] = relayed(asked)
    asked.desk.open_approval(asked.row, approvers=("user:oid-change",), round=2, steps=50)
    ran = job_approves(asked, event, tmp_path)
    assert ran.returncode == 1
    assert "::error::Pilotage answered 409: the plan has changed since this link was sent" in ran.stdout


def test_the_relay_hands_on_what_asks_for_a_decision_only(asked: Asked) -> None:
    assert relayed(asked, kind="decided") == []


# --- what they are told -----------------------------------------------------------------------------------


def test_the_guide_names_fields_that_the_webhook_has() -> None:
    guide = (EXAMPLES / "README.md").read_text()
    assert set(re.findall(r"\{\{webhookData\.(\w+)\}\}", guide)) <= set(Notification.model_fields)
    assert all(f"`{kind}`" in guide for kind in DECISIONS)
    links = [target for target in re.findall(r"\]\(([^)]+)\)", guide) if not urlsplit(target).scheme]
    assert [target for target in links if not (EXAMPLES / target).exists()] == []
