"""Passports over HTTP: the file that proves itself, the keys that signed it, and what it means in plain words."""

import azure.durable_functions as df
import azure.functions as func

from functions.http import Call, Reply, serve
from functions.promotions import known
from pilotage.bootstrap import app
from pilotage.domain.access import Role
from pilotage.errors import Forbidden, InvalidInput, NotFound
from pilotage.passports.explaining import explain_endpoint, explain_version
from pilotage.passports.file import passport_file

bp = df.Blueprint(http_auth_level=func.AuthLevel.ANONYMOUS)


@bp.route(route="promotions/{promotion}/passport", methods=["GET"])
def get_passport(req: func.HttpRequest) -> func.HttpResponse:
    """The passport as a file for `pilotage passport verify`."""

    def handle(call: Call) -> Reply:
        row = known(call, Role.READER)
        return Reply(200, passport_file(app().ledger, row.id, app().clock.now()))

    return serve(req, Role.READER, handle)


@bp.route(route="keys", methods=["GET"])
def get_keys(req: func.HttpRequest) -> func.HttpResponse:
    """The public keys that ever signed a passport, as a JWK Set: what a verifier trusts."""

    def handle(call: Call) -> Reply:
        keys = app().ledger.passports.keys()
        return Reply(200, {"keys": [{**jwk, "kid": kid, "alg": "ES256", "use": "sig"} for kid, jwk in sorted(keys.items())]})

    return serve(req, Role.READER, handle)


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
