"""How the command line shows things to people; `--json` shows the values themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pilotage.errors import PilotageError

_STYLE = {"succeeded": "green", "passed": "green", "failed": "red", "errored": "red", "rejected": "red", "terminated": "red",
          "rolled_back": "yellow", "held": "yellow", "inconclusive": "yellow", "expired": "yellow", "awaiting_approval": "cyan"}
NARROW = 100
"""Columns of a table when nobody looks (a pipe, a log): wide enough for ids, so that they can be searched for."""


def out() -> Console:
    """Standard output; made when it is used, so that redirections hold."""
    console = Console(highlight=False, soft_wrap=True)
    return console if console.is_terminal else Console(highlight=False, soft_wrap=True, width=max(console.width, 2 * NARROW))


def show_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    made = Table(title=title, title_justify="left", show_edge=False, pad_edge=False)
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        made.add_row(*(Text(cell, style=_STYLE.get(cell, "")) for cell in row))
    return made


def show_promotions(answer: dict[str, Any]) -> None:
    items = answer["items"]
    if not items:
        out().print("no promotions match")
        return
    rows = [[item["id"], f"{item['model']}:{item['version']}", item["phase"], item["policy"], short_time(item["updated_at"]),
             shorten(item["message"])] for item in items]
    out().print(table("", ["promotion", "model", "phase", "policy", "updated", "message"], rows))
    if answer["next"]:
        out().print(f"the newest {len(items)}; --limit shows more")


def show_promotion(found: dict[str, Any]) -> None:
    console = out()
    console.print(Text.assemble((found["id"], "bold"), "  ", (found["phase"], _STYLE.get(found["phase"], ""))))
    facts = {
        "model": f"{found['model']}:{found['version']}", "policy": found["policy"], "attempt": str(found["attempt"]),
        "target": f"{found['workspace']}/{found['endpoint']} {found['deployment']}".strip(), "message": found["message"],
        "plan": found["plan_hash"], "previous": found["previous"] or "", "drift case": found["case"] or "",
        "created": short_time(found["created_at"]), "updated": short_time(found["updated_at"]),
    }
    for name, value in facts.items():
        if value:
            console.print(Text.assemble((f"  {name:<11}", "dim"), value))
    if approval := found["approval"]:
        tally, rule = approval["tally"], approval["rule"]
        console.print(f"  approval   {tally['state']}: {len(tally['approvals'])} of {rule['quorum']} by {', '.join(rule['approvers'])}, "
                      f"until {short_time(approval['expires_at'])}", markup=False)
    if found["gates"]:
        console.print(table("\ngates", ["gate", "outcome", "message"], [[g["gate"], g["outcome"], g["message"]] for g in found["gates"]]))
    steps = [[str(s["sequence"]), short_time(s["at"]), s["kind"], s["step"], s["phase"], shorten(told(s["data"]))] for s in found["steps"]]
    console.print(table("\npassport", ["#", "at", "kind", "step", "phase", "data"], steps))
    for rollback in found["rollbacks"]:
        result = (rollback["result"] or {}).get("message", "under way")
        console.print(f"\nrollback {rollback['id']}: {result} (asked: {rollback['reason']})", markup=False)
    for problem in found["passport"]["problems"]:
        console.print(Text(f"the passport is not intact: {problem}", style="bold red"))


def show_plan(found: dict[str, Any]) -> None:
    """A plan: what will change, in order, and by which hash it is approved."""
    console, plan = out(), found["plan"]
    console.print(Text.assemble((found.get("promotion") or "not started", "bold"), "  ", (found["state"], _STYLE.get(found["state"], ""))))
    facts = {"hash": found["hash"], "model": f"{plan['model']} ({plan['model_digest']})",
             "environment": f"{plan['environment'] or 'none'} ({plan['environment_definition']})",
             "policy": f"{plan['policy']} ({plan['policy_hash']})",
             "approval": plan["approval"] if isinstance(plan["approval"], str) else
             f"{plan['approval'].get('quorum', 1)} of {', '.join(plan['approval']['approvers'])}",
             "prior": ", ".join(f"{name} {share} %" for name, share in plan["prior"]["traffic"].items()) or "nothing serves there",
             "gates": ", ".join(f"{item['gate']} {item['outcome']}" for item in plan["evidence"]) or "none",
             "changed": "; ".join(found.get("changed") or []), "note": found.get("note", "")}
    for name, value in facts.items():
        if value:
            console.print(Text.assemble((f"  {name:<12}", "dim"), value))
    rows = [[str(number), item["action"], item["resource"], item["detail"]] for number, item in enumerate(plan["resources"], start=1)]
    console.print(table("\nwill change", ["#", "action", "resource", "detail"], rows))


def told(data: dict[str, Any]) -> str:
    """A step's data in a line."""
    return ", ".join(f"{name}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}" for name, value in data.items())


def shorten(text: str, limit: int = 120) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def short_time(text: str) -> str:
    """To the second, without the zone: all times are UTC."""
    return text[:19].replace("T", " ")


@contextmanager
def telling() -> Iterator[None]:
    """Show our errors as one sentence on standard error, and end with 1."""
    try:
        yield
    except PilotageError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(Text.assemble(("error: ", "bold red"), str(error)))
        raise typer.Exit(1) from None
