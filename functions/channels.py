"""The channels by which people are told: how each fares, and a card to try one. No URL is told: those are secrets."""

from typing import Any

import azure.durable_functions as df
import azure.functions as func

from functions.http import Body, Call, Reply, serve
from pilotage.bootstrap import App, app
from pilotage.domain.access import Role
from pilotage.domain.notices import WHY
from pilotage.errors import NotFound, PilotageError
from pilotage.ports import Notification

bp = df.Blueprint(http_auth_level=func.AuthLevel.ANONYMOUS)


class TryBody(Body):
    """Nothing to say."""


@bp.route(route="channels", methods=["GET"])
def list_channels(req: func.HttpRequest) -> func.HttpResponse:
    """{"items": [{"name", "channel", "state", "last_ok", "failing_since", "failures", "last_error", "last_error_at"}]} by name."""
    return serve(req, Role.READER, lambda call: Reply(200, {"items": _channels(app())}))


@bp.route(route="channels/{channel}/test", methods=["POST"])
def try_channel(req: func.HttpRequest) -> func.HttpResponse:
    """Send a card that says it is a test: {"channel", "told": [names], "failed": {name: reason}}.

    For operators of all teams: a channel is of no one team.
    """

    def handle(call: Call) -> Reply:
        call.require(Role.OPERATOR)
        call.body(TryBody)
        return Reply(200, _try(app(), call.route["channel"]))

    return serve(req, Role.OPERATOR, handle)


def _channels(this: App) -> list[dict[str, Any]]:
    """Those that are configured, and those that a policy names though nobody has configured them."""
    known = {place: channel for channel, places in this.notifier.known().items() for place in places}
    health = {item["name"]: item for item in this.ledger.channels.health()}
    return [_told(name, known.get(name), health.get(name, {})) for name in sorted({*known, *health})]


def _told(name: str, channel: str | None, row: dict[str, Any]) -> dict[str, Any]:
    state = "not configured" if channel is None else "failing" if row.get("failures") else "ok" if row.get("last_ok") else "never used"
    return {"name": name, "channel": channel or name, "state": state, "last_ok": row.get("last_ok") or None,
            "failing_since": row.get("since") or None, "failures": row.get("failures", 0), "last_error": row.get("error") or None,
            "last_error_at": row.get("error_at") or None}


def _try(this: App, channel: str) -> dict[str, Any]:
    known = this.notifier.known()
    if channel not in known:
        raise NotFound(f"there is no channel {channel[:64]}; configured are: {', '.join(sorted(known)) or 'none'}")
    told, failed = [], {}
    for place in known[channel]:
        at = this.clock.now().isoformat(timespec="seconds")
        try:
            this.notifier.send(Notification(
                kind="test", title=f"Pilotage: a test of the channel {place}", why=WHY["test"], text="", promotion="",
                link=f"{this.settings.base_url.rstrip('/')}/api/ui"), place)
        except PilotageError as error:
            this.ledger.channels.fares(place, at, str(error))
            failed[place] = str(error)
            continue
        this.ledger.channels.fares(place, at)
        told.append(place)
    return {"channel": channel, "told": told, "failed": failed}
