"""Passports over HTTP: the file that proves itself, the keys that signed it, and what it means in plain words."""

from dataclasses import replace
from datetime import datetime

import azure.durable_functions as df
import azure.functions as func

from functions.http import Call, Reply, moment, serve
from functions.promotions import known
from pilotage.bootstrap import app
from pilotage.domain.access import Role
from pilotage.domain.names import promotion_of
from pilotage.errors import Forbidden, InvalidInput, NotFound
from pilotage.passports.audit import audit_zip, key_set
from pilotage.passports.explaining import explain_endpoint, explain_version
from pilotage.passports.file import passport_file

bp = df.Blueprint(http_auth_level=func.AuthLevel.ANONYMOUS)


@bp.route(route="promotions/{promotion}/passport", methods=["GET"])
def get_passport(req: func.HttpRequest) -> func.HttpResponse:
    """The passport as a file for `pilotage passport verify`: of a promotion, or by its id of a rollback or a drift incident."""

    def handle(call: Call) -> Reply:
        wanted = call.route["promotion"]
        if wanted.startswith("drift-"):
            _require_all_teams(call, "an incident of drift is of no promotion")
        else:
            known(replace(call, route={"promotion": promotion_of(wanted) or wanted}), Role.READER)
        return Reply(200, passport_file(app().ledger, wanted, app().clock.now()))

    return serve(req, Role.READER, handle)


@bp.route(route="keys", methods=["GET"])
def get_keys(req: func.HttpRequest) -> func.HttpResponse:
    """The public keys that ever signed a passport, as a JWK Set: what a verifier trusts."""

    return serve(req, Role.READER, lambda call: Reply(200, key_set(app().ledger)))


@bp.route(route="audit", methods=["GET"])
def export_audit(req: func.HttpRequest) -> func.HttpResponse:
    """`?from=&to=` (days, or times with a zone; `to` is not part of it): the evidence of the period as one signed zip."""

    def handle(call: Call) -> Reply:
        _require_all_teams(call, "an audit spans all teams")
        begin, end = _day("from", call), _day("to", call)
        if begin >= end:
            raise InvalidInput("from: must be before to")
        this = app()
        content = audit_zip(this.ledger, begin, end, this.clock.now())
        name = f"pilotage-audit-{begin:%Y%m%d}-{end:%Y%m%d}.zip"
        return Reply(200, content, {"Content-Type": "application/zip", "Content-Disposition": f'attachment; filename="{name}"'})

    return serve(req, Role.READER, handle)


def _require_all_teams(call: Call, why: str) -> None:
    if call.actor.teams(Role.READER) is not None:
        raise Forbidden(f"{why}: this takes {Role.READER.value} for all teams, not for one")


def _day(name: str, call: Call) -> datetime:
    """A day (its beginning, UTC) or a time with a zone. Raises InvalidInput."""
    text = call.query.get(name) or ""
    if not text:
        raise InvalidInput(f"{name} is missing: name a day such as 2026-07-01 or a time such as 2026-07-01T12:00:00Z")
    return moment(name, f"{text}T00:00:00Z" if len(text) == len("2026-07-01") else text)


@bp.route(route="explain", methods=["GET"])
def explain_why(req: func.HttpRequest) -> func.HttpResponse:
    """`?model=&version=` or `?endpoint=[&workspace=]` -> {"text"}: why this is live, or is not."""

    def handle(call: Call) -> Reply:
        query = {name: call.query.get(name) or "" for name in ("model", "version", "endpoint", "workspace")}
        if bool(query["endpoint"]) == bool(query["model"]):
            raise InvalidInput("ask either for model and version, or for endpoint (and workspace)")
        this = app()
        if query["endpoint"]:
            rows = [row for row in this.ledger.endpoints.all() if row.endpoint.casefold() == query["endpoint"].casefold()
                    and query["workspace"].casefold() in ("", row.workspace.casefold())]
            if len(rows) > 1:
                raise InvalidInput(f"several workspaces have it ({', '.join(row.workspace for row in rows)}): name one in workspace")
            if not rows:
                raise NotFound(f"no promotion has ever asked for an endpoint {query['endpoint']}")
            live = rows[0].live
            about = this.ledger.promotions.get(live.promotion) if live else None
            text = explain_endpoint(this.ledger, rows[0], about)
            team = about.team if about else None
        else:
            if not query["version"]:
                raise InvalidInput("version is missing: ask for /api/explain?model=air-time&version=3")
            wanted = query["version"].casefold()
            found = [row for row in this.ledger.promotions.list(model=query["model"]) if row.version.casefold() == wanted]
            if not found:
                raise NotFound(f"{query['model']}:{query['version']} was never promoted")
            text, team = explain_version(this.ledger, found), found[0].team
        if not call.actor.has(Role.READER, team):
            raise Forbidden(f"this is of the team {team}: it takes {Role.READER.value}.{team}")
        return Reply(200, {"text": text})

    return serve(req, Role.READER, handle)
