"""The control API (`/_emulator/...`): virtual time, faults, the journal, the mailbox. Loopback only, like everything here."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import timedelta

import httpx
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from emulator.clock import VirtualClock
from emulator.faults import FaultRule, Faults
from emulator.journal import Journal
from emulator.mailbox import Mailbox

_DURATION = re.compile(r"^P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?$")


class Control:
    """Tests and demos hold the platform's strings here.

    `clock_moved` tells other processes of the new offset in seconds; `cut_storage` breaks the open connections
    to the storage hosts that match a pattern.
    """

    def __init__(self, clock: VirtualClock, faults: Faults, journal: Journal, mailbox: Mailbox,
                 clock_moved: Callable[[float], Awaitable[None]], cut_storage: Callable[[str], int]) -> None:
        self._clock, self._faults, self._journal, self._mailbox = clock, faults, journal, mailbox
        self._clock_moved, self._cut_storage = clock_moved, cut_storage

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/_emulator/health", self._health),
            Route("/_emulator/clock", self._get_clock),
            Route("/_emulator/clock", self._advance, methods=["POST"]),
            Route("/_emulator/journal", self._get_journal),
            Route("/_emulator/faults", self._get_faults),
            Route("/_emulator/faults", self._add_fault, methods=["POST"]),
            Route("/_emulator/faults", self._clear_faults, methods=["DELETE"]),
            Route("/_emulator/faults/{number:int}", self._remove_fault, methods=["DELETE"]),
            Route("/_emulator/mailbox", self._get_mailbox),
            Route("/_emulator/mailbox", self._clear_mailbox, methods=["DELETE"]),
            Route("/_emulator/mailbox/{channel}", self._post, methods=["POST"]),
        ]

    async def _health(self, request: Request) -> Response:
        return JSONResponse({"status": "ok", "now": self._clock.now().isoformat()})

    # --- time ---------------------------------------------------------------------------------------

    async def _get_clock(self, request: Request) -> Response:
        return JSONResponse({"now": self._clock.now().isoformat(), "offset_seconds": self._clock.offset_seconds})

    async def _advance(self, request: Request) -> Response:
        """{"advance_seconds": n} or {"advance": "PT1H"}: move everything that waits, together."""
        try:
            body = await request.json()
            seconds = float(body["advance_seconds"]) if "advance_seconds" in body else _seconds(body["advance"])
            now = self._clock.advance(seconds)
        except (KeyError, ValueError, TypeError) as error:
            return _bad(f"give advance_seconds (a number) or advance (such as PT1H): {error}")
        try:
            await self._clock_moved(self._clock.offset_seconds)
        except httpx.HTTPError as error:
            return JSONResponse({"error": f"the platform's time has moved, the Functions host's has not: {error!r}"}, 502)
        return JSONResponse({"now": now.isoformat(), "offset_seconds": self._clock.offset_seconds})

    # --- the journal --------------------------------------------------------------------------------

    async def _get_journal(self, request: Request) -> Response:
        query = request.query_params
        try:
            items = self._journal.entries(query.get("path", ""), query.get("method", ""), query.get("service", ""),
                                          int(query.get("since", "0")))
        except (re.error, ValueError) as error:
            return _bad(f"path is a regular expression, since a number: {error}")
        return JSONResponse({"items": [entry.as_dict() for entry in items]})

    # --- faults -------------------------------------------------------------------------------------

    async def _get_faults(self, request: Request) -> Response:
        return JSONResponse({"items": self._faults.list()})

    async def _add_fault(self, request: Request) -> Response:
        try:
            rule = FaultRule.model_validate_json(await request.body())
        except ValidationError as error:
            return _bad(str(error))
        number = self._faults.add(rule)
        if rule.service == "storage":
            self._cut_storage(rule.path)
        return JSONResponse({"id": number}, 201)

    async def _clear_faults(self, request: Request) -> Response:
        self._faults.clear()
        return Response(status_code=204)

    async def _remove_fault(self, request: Request) -> Response:
        return Response(status_code=204 if self._faults.remove(request.path_params["number"]) else 404)

    # --- the mailbox --------------------------------------------------------------------------------

    async def _get_mailbox(self, request: Request) -> Response:
        return JSONResponse({"items": self._mailbox.messages(request.query_params.get("channel"))})

    async def _clear_mailbox(self, request: Request) -> Response:
        self._mailbox.clear()
        return Response(status_code=204)

    async def _post(self, request: Request) -> Response:
        """What a webhook notification posts to."""
        try:
            body = await request.json()
        except ValueError as error:
            return _bad(f"a notification is JSON: {error}")
        self._mailbox.add(request.path_params["channel"], body, self._clock.now())
        return Response(status_code=202)


def _bad(message: str) -> Response:
    return JSONResponse({"error": message}, 400)


def _seconds(text: str) -> float:
    match = _DURATION.match(text)
    if match is None or not any(match.groups()):
        raise ValueError(f"{text!r} is not an ISO 8601 duration")
    days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds).total_seconds()
