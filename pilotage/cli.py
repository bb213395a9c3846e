"""`pilotage`: check policies, follow and steer promotions, read what was refused.

Promotions are read and steered over HTTP (FUNCTIONS_URL, PILOTAGE_TOKEN or the signed-in Azure identity);
rejected events and dead letters are read from the ledger, with the app's settings.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from pilotage.bootstrap import app as pilotage_app
from pilotage.channels_cli import app as channels
from pilotage.client import PilotageClient
from pilotage.console import out, short_time, shorten, show_json, show_plan, show_promotion, show_promotions, table, telling
from pilotage.errors import InvalidInput
from pilotage.gates_cli import app as gates
from pilotage.ledger import dead_letters
from pilotage.passport_cli import app as passport
from pilotage.passport_cli import audit
from pilotage.policies.folder import GUARDRAILS, SUFFIXES, load
from pilotage.policies.schema import schema_text
from pilotage.policies.words import describe

app = typer.Typer(help="Event-driven promotion for Azure Machine Learning.", no_args_is_help=True, pretty_exceptions_enable=False)
policy = typer.Typer(help="Promotion policies.", no_args_is_help=True)
promotions = typer.Typer(help="Promotions under way and done.", no_args_is_help=True)
events = typer.Typer(help="Events that were refused or given up.", no_args_is_help=True)
app.add_typer(gates, name="gates")
app.add_typer(channels, name="channels")
app.add_typer(passport, name="passport")
app.add_typer(audit, name="audit")
app.add_typer(policy, name="policy")
app.add_typer(promotions, name="promotions")
app.add_typer(events, name="events")

Json = Annotated[bool, typer.Option("--json", help="Print the values as JSON.")]
Url = Annotated[str | None, typer.Option("--url", envvar="FUNCTIONS_URL", help="The app's address.")]
Promotion = Annotated[str, typer.Argument(help="Id of the promotion, as `promotions list` shows it.")]
LinkToken = Annotated[str, typer.Option("--link-token", envvar="PILOTAGE_LINK_TOKEN", help="The token of the decision link.")]
Reference = Annotated[str, typer.Option(help="What it refers to elsewhere, such as a change request's number.")]
Behalf = Annotated[str, typer.Option(help="Object id of who delegated their vote to you, where there are several.")]
Limit = Annotated[int, typer.Option(min=1, max=1000, help="Show at most so many.")]


@policy.command("check")
def policy_check(
    files: Annotated[list[Path] | None, typer.Argument(help="Policy files or folders; the folder `policies` when none are given.")] = None,
    guardrails: Annotated[Path | None, typer.Option(help=f"The guardrails; {GUARDRAILS} beside the first file when not given.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Do not tell in words what the policies will do.")] = False,
    as_json: Json = False,
) -> None:
    """Read policies as the app does, and say what is wrong with them: file, line and fix; and in words what they will do.

    Ends with 1 when anything is wrong. Windows and freezes that are over are warned about.
    """
    with telling():
        paths = _policy_files(files or [Path("policies")])
        loaded = load(paths, guardrails or (paths[0].parent / GUARDRAILS), datetime.now(UTC))
    if as_json:
        show_json({"policies": [found.name for found in loaded.policies], **{
            kind: [{**vars(problem), "text": str(problem)} for problem in listed]
            for kind, listed in (("problems", loaded.problems), ("warnings", loaded.warnings))}})
    else:
        for problem in loaded.problems:
            out().print(Text(str(problem), style="red"))
        for problem in loaded.warnings:
            out().print(Text(f"warning: {problem}", style="yellow"))
        for found in loaded.policies:
            stage = found.production
            out().print(f"ok: {found.name} ({found.match.model} to {stage.workspace}/{stage.target.endpoint})", markup=False)
            for line in () if quiet else describe(found):
                out().print(f"    {line}", markup=False)
    raise typer.Exit(1 if loaded.problems else 0)


@policy.command("schema")
def policy_schema() -> None:
    """Print the JSON Schema of a policy (policies/schema.json)."""
    sys.stdout.write(schema_text())


@promotions.command("list")
def promotions_list(
    model: Annotated[str | None, typer.Option(help="Only this model.")] = None,
    phase: Annotated[str | None, typer.Option(help="Only this phase, such as awaiting_approval.")] = None,
    policy_name: Annotated[str | None, typer.Option("--policy", help="Only this policy.")] = None,
    limit: Limit = 100, url: Url = None, as_json: Json = False,
) -> None:
    """List promotions, newest first."""
    _ask(url, lambda client: client.promotions(model=model, phase=phase, policy=policy_name, limit=limit), as_json, show_promotions)


@promotions.command("show")
def promotions_show(promotion: Promotion, url: Url = None, as_json: Json = False) -> None:
    """Explain one promotion: its steps, gates, plan and approval."""
    _ask(url, lambda client: client.promotion(promotion), as_json, show_promotion)


@app.command()
def report(
    promotion: Promotion,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the page here; <promotion>.html when not given.")] = None,
    url: Url = None, as_json: Json = False,
) -> None:
    """The gates' report of a promotion: a page with plots, or with --json the values."""
    with telling():
        client = PilotageClient.from_environment(url)
        if as_json:
            show_json(client.evidence(promotion))
            return
        target = output or Path(f"{promotion}.html")
        target.write_text(client.report(promotion), encoding="utf-8")
    out().print(f"{target}: open it in a browser", markup=False)


@app.command()
def waive(
    promotion: Promotion,
    gate: Annotated[str, typer.Option(help="The failed gate, such as responsible_ai.")],
    reason: Annotated[str, typer.Option(help="Why it may be passed over, for the record.")],
    expires: Annotated[str, typer.Option(help="Until when, such as 2026-12-31T12:00:00Z.")],
    url: Url = None, as_json: Json = False,
) -> None:
    """Pass over a failed gate, under your name; `retry` then goes on."""
    _ask(url, lambda client: client.waive(promotion, gate, reason, expires), as_json,
         lambda answer: out().print(f"recorded until {answer['waiver']['expires']}; now: pilotage retry {promotion}", markup=False))


@app.command()
def explain(
    what: Annotated[str, typer.Argument(metavar="MODEL:VERSION|ENDPOINT", help="Such as air-time:3, air-time or mlw-prod/air-time.")],
    url: Url = None, as_json: Json = False,
) -> None:
    """Why is this live? A page of text: trigger, digests, gates, plan, votes, traffic, and where the evidence is."""
    name, separator, version = what.rpartition(":")
    workspace, _, endpoint = what.rpartition("/")
    about = {"model": name, "version": version} if separator else {"endpoint": endpoint, "workspace": workspace}
    _ask(url, lambda client: client.explain(**about), as_json, lambda answer: out().print(answer["text"], markup=False, end=""))


@app.command()
def plan(
    model: Annotated[str, typer.Argument(metavar="MODEL:VERSION|PROMOTION", help="Such as air-time:3, or the id of a promotion.")],
    workspace: Annotated[str | None, typer.Option(help="Where it is registered; the policy's own when not given.")] = None,
    registry: Annotated[str | None, typer.Option(help="The registry, for a version that was registered there.")] = None,
    policy_name: Annotated[str | None, typer.Option("--policy", help="The policy, where several cover the model.")] = None,
    url: Url = None, as_json: Json = False,
) -> None:
    """Show everything that a promotion will change, and the hash that is approved. Changes nothing."""
    name, separator, version = model.rpartition(":")
    _ask(url, lambda client: client.plan_version(name, version, workspace=workspace, registry=registry, policy=policy_name)
         if separator else client.plan(model), as_json, show_plan)


@app.command()
def promote(
    model: Annotated[str, typer.Argument(metavar="MODEL:VERSION", help="Such as air-time:3.")],
    workspace: Annotated[str | None, typer.Option(help="Where it is registered; the policy's own when not given.")] = None,
    registry: Annotated[str | None, typer.Option(help="The registry, for a version that was registered there.")] = None,
    policy_name: Annotated[str | None, typer.Option("--policy", help="The policy, where several cover the model.")] = None,
    url: Url = None, as_json: Json = False,
) -> None:
    """Promote a version by hand: one of a registry, or one whose event was lost."""
    with telling():
        name, separator, version = model.rpartition(":")
        if not separator or not name or not version:
            raise InvalidInput(f"{model!r} names no version: write MODEL:VERSION, such as air-time:3")
    _ask(url, lambda client: client.promote(name, version, workspace=workspace, registry=registry, policy=policy_name),
         as_json, _show_started)


@app.command()
def retry(promotion: Promotion, url: Url = None, as_json: Json = False) -> None:
    """Start the next attempt of a promotion that ended without success."""
    _ask(url, lambda client: client.retry(promotion), as_json, _show_started)


@app.command()
def rollback(
    promotion: Promotion,
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Although a later promotion serves: both are undone.")] = False,
    url: Url = None, as_json: Json = False,
) -> None:
    """Restore the traffic from before a promotion, exactly."""
    _ask(url, lambda client: client.roll_back(promotion, reason, force=force), as_json, _show_started)


@app.command()
def approve(promotion: Promotion, link_token: LinkToken, reason: Annotated[str, typer.Option(help="For the record.")] = "",
            reference: Reference = "", on_behalf_of: Behalf = "", url: Url = None, as_json: Json = False) -> None:
    """Approve the plan that the decision link showed you."""
    _decide(promotion, "approve", reason, link_token, url, as_json, reference=reference, on_behalf_of=on_behalf_of)


@app.command()
def reject(promotion: Promotion, link_token: LinkToken, reason: Annotated[str, typer.Option(help="Why: required.")],
           reference: Reference = "", on_behalf_of: Behalf = "", url: Url = None, as_json: Json = False) -> None:
    """Reject the plan that the decision link showed you."""
    _decide(promotion, "reject", reason, link_token, url, as_json, reference=reference, on_behalf_of=on_behalf_of)


@app.command()
def withdraw(promotion: Promotion, link_token: LinkToken, url: Url = None, as_json: Json = False) -> None:
    """Take your vote back, as long as nothing is decided."""
    _decide(promotion, "withdraw", "", link_token, url, as_json)


@app.command()
def break_glass(promotion: Promotion, link_token: LinkToken, reason: Annotated[str, typer.Option(help="The emergency: required.")],
                url: Url = None, as_json: Json = False) -> None:
    """Approve in an emergency, past the rule and the windows: two people, and a review afterwards."""
    _decide(promotion, "break_glass", reason, link_token, url, as_json)


@app.command()
def comment(promotion: Promotion, text: Annotated[str, typer.Argument(help="What to say.")], url: Url = None,
            as_json: Json = False) -> None:
    """Say something to the others who look at a promotion."""
    _ask(url, lambda client: client.comment(promotion, text), as_json, lambda answer: out().print("recorded"))


@app.command()
def review(promotion: Promotion, reason: Annotated[str, typer.Option(help="What you found.")],
           justified: Annotated[bool, typer.Option("--justified/--not-justified", help="Whether the glass was broken for a reason.")],
           url: Url = None, as_json: Json = False) -> None:
    """The review that follows a broken glass."""
    _ask(url, lambda client: client.review(promotion, justified, reason), as_json, lambda answer: out().print("recorded"))


@app.command()
def delegate(policy_name: Annotated[str, typer.Argument(metavar="POLICY", help="On whose plans.")],
             to: Annotated[str, typer.Option(help="Object id of who decides for you.")],
             until: Annotated[str, typer.Option(help="Until when, such as 2026-12-31T12:00:00Z.")],
             reason: Annotated[str, typer.Option(help="Why, for the record.")], url: Url = None, as_json: Json = False) -> None:
    """Let somebody else decide for you, until a time."""
    _ask(url, lambda client: client.delegate(policy_name, to, until, reason), as_json,
         lambda answer: out().print(f"{to} decides for you until {answer['delegation']['until']}", markup=False))


@events.command("rejected")
def events_rejected(limit: Limit = 50, as_json: Json = False) -> None:
    """Events and alerts that could not be understood, newest first, each with the reason."""
    with telling():
        found = pilotage_app().ledger.rejected.list(limit)
    rows = [[short_time(item.received_at), item.kind, item.reason, shorten(item.payload, 80)] for item in found]
    _show_letters([item.model_dump(mode="json") for item in found], as_json, ["received", "kind", "reason", "payload"], rows,
                  "nothing was rejected")


@events.command("dead-letters")
def events_dead_letters(limit: Limit = 50, as_json: Json = False) -> None:
    """Events that Event Grid gave up delivering, newest first: promote their versions by hand."""
    with telling():
        settings = pilotage_app().settings
        found = dead_letters(settings.ledger_blob_url, settings.dead_letter_container, limit)
    rows = [[short_time(item.last_attempt_at), item.event_type.rpartition(".")[2], item.subject, item.reason, str(item.attempts),
             item.outcome] for item in found]
    _show_letters([item.model_dump(mode="json") for item in found], as_json,
                  ["last attempt", "type", "subject", "reason", "attempts", "outcome"], rows, "there are no dead letters")


def _ask(url: str | None, call: Callable[[PilotageClient], dict[str, Any]], as_json: bool, show: Callable[[dict[str, Any]], None]) -> None:
    with telling():
        answer = call(PilotageClient.from_environment(url))
    (show_json if as_json else show)(answer)


def _decide(promotion: str, decision: str, reason: str, link_token: str, url: str | None, as_json: bool, **about: str) -> None:
    _ask(url, lambda client: client.decide(promotion, decision, reason, link_token, **about), as_json, _show_vote)


def _show_started(answer: dict[str, Any]) -> None:
    told = {"started": "started", "already_started": "was started before"}.get(answer["outcome"], answer["outcome"])
    out().print(f"{answer['id']} {told}", markup=False)


def _show_vote(answer: dict[str, Any]) -> None:
    out().print(f"recorded: {answer['decision']} on {answer['promotion']}; the approval is {answer['state']}", markup=False)


def _show_letters(values: list[dict[str, Any]], as_json: bool, columns: list[str], rows: list[list[str]], none: str) -> None:
    if as_json:
        show_json({"items": values})
    else:
        out().print(table("", columns, rows) if rows else none)


def _policy_files(paths: list[Path]) -> list[Path]:
    """The files named, and those of the folders named. Raises InvalidInput when there are none."""
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += sorted(file for file in path.iterdir() if file.suffix in SUFFIXES and file.name != GUARDRAILS)
        elif path.is_file():
            files.append(path)
        else:
            raise InvalidInput(f"{path} does not exist: name a policy file or a folder with policies")
    if not files:
        raise InvalidInput(f"there is no policy in {', '.join(map(str, paths))}: a policy is a file that ends with .yaml")
    return files


if __name__ == "__main__":
    app()
