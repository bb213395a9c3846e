"""The control API (`/_emulator/...`): virtual time, faults, the journal, the mailbox. Loopback only, like everything here."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from emulator.answers import PlainJson, answerable
from emulator.clock import VirtualClock
from emulator.faults import FaultRule, Faults
from emulator.journal import Journal
from emulator.mailbox import Mailbox

_LAST = datetime(2200, 1, 1, tzinfo=UTC)
"""Certificates, tokens and the libraries' own arithmetic end somewhere; time travel does here."""
_DURATION = re.compile(r"^P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?$")


class Control:
    """Tests and demos hold the platform's strings here.

    `clock_moved` tells other processes of the new offset in seconds; `cut_storage` breaks the open connections
    to the storage hosts that match a pattern; `reset` empties everything and tells how long its
    parts took; `status` is what `GET /_emulator/status` answers.
    """

    def __init__(self, clock: VirtualClock, faults: Faults, journal: Journal, mailbox: Mailbox,
                 clock_moved: Callable[[float], Awaitable[None]], cut_storage: Callable[[str], int],
                 reset: Callable[[], Awaitable[dict[str, float]]], status: Callable[[], dict[str, Any]]) -> None:
        self._clock, self._faults, self._journal, self._mailbox = clock, faults, journal, mailbox
        self._clock_moved, self._cut_storage, self._reset = clock_moved, cut_storage, reset
        self._status = status

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/_emulator/health", self._health),
            Route("/_emulator/status", self._get_status),
            Route("/_emulator/reset", self._reset_all, methods=["POST"]),
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
        return PlainJson({"status": "ok", "now": self._clock.now().isoformat()})

    async def _get_status(self, request: Request) -> Response:
        """Processes with their memory in bytes, resources by type, deliveries by state, virtual time."""
        return PlainJson(await asyncio.to_thread(self._status))

    async def _reset_all(self, request: Request) -> Response:
        """Everything that clients have made is gone when this answers; 502 when the Functions host or the storage can't be reached."""
        try:
            return PlainJson({"milliseconds": await self._reset()})
        except httpx.HTTPError as error:
            return PlainJson({"error": f"the platform is only partly empty, ask again: {error!r}"}, 502)

    # --- time ---------------------------------------------------------------------------------------

    async def _get_clock(self, request: Request) -> Response:
        return PlainJson({"now": self._clock.now().isoformat(), "offset_seconds": self._clock.offset_seconds})

    async def _advance(self, request: Request) -> Response:
        """{"advance_seconds": n} or {"advance": "PT1H"}: move everything that waits, together."""
        try:
            body = await request.json()
            seconds = float(body["advance_seconds"]) if "advance_seconds" in body else duration(body["advance"])
            now = await self.advance(seconds)
        except (KeyError, ValueError, TypeError, OverflowError, RecursionError) as error:
            return _bad(f"give advance_seconds (a number) or advance (such as PT1H): {error}")
        except httpx.HTTPError as error:
            return PlainJson({"error": f"the platform's time has moved, the Functions host's has not: {error!r}"}, 502)
        return PlainJson({"now": now.isoformat(), "offset_seconds": self._clock.offset_seconds})

    async def advance(self, seconds: float) -> datetime:
        """Raises ValueError, and httpx.HTTPError when the Functions host can't be told."""
        if not 0 <= seconds <= (_LAST - self._clock.now()).total_seconds():
            raise ValueError(f"time moves forward, up to {_LAST:%Y-%m-%d}")
        now = self._clock.advance(seconds)
        await self._clock_moved(self._clock.offset_seconds)
        return now

    # --- the journal --------------------------------------------------------------------------------

    async def _get_journal(self, request: Request) -> Response:
        query = request.query_params
        try:
            items = self._journal.entries(query.get("path", ""), query.get("method", ""), query.get("service", ""),
                                          int(query.get("since", "0")))
        except (re.error, ValueError) as error:
            return _bad(f"path is a regular expression, since a number: {error}")
        return PlainJson({"items": [entry.as_dict() for entry in items]})

    # --- faults -------------------------------------------------------------------------------------

    async def _get_faults(self, request: Request) -> Response:
        return PlainJson({"items": self._faults.list()})

    async def _add_fault(self, request: Request) -> Response:
        try:
            rule = FaultRule.model_validate_json(await request.body())
        except ValidationError as error:
            return _bad(str(error))
        number = self._faults.add(rule)
        if rule.service == "storage":
            self._cut_storage(rule.path)
        return PlainJson({"id": number}, 201)

    async def _clear_faults(self, request: Request) -> Response:
        self._faults.clear()
        return Response(status_code=204)

    async def _remove_fault(self, request: Request) -> Response:
        return Response(status_code=204 if self._faults.remove(request.path_params["number"]) else 404)

    # --- the mailbox --------------------------------------------------------------------------------

    async def _get_mailbox(self, request: Request) -> Response:
        return PlainJson({"items": self._mailbox.messages(request.query_params.get("channel"))})

    async def _clear_mailbox(self, request: Request) -> Response:
        self._mailbox.clear()
        return Response(status_code=204)

    async def _post(self, request: Request) -> Response:
        """What a webhook notification posts to."""
        try:
            body = answerable(await request.json())
        except (ValueError, RecursionError) as error:
            return _bad(f"a notification is JSON: {error}")
        self._mailbox.add(request.path_params["channel"], body, self._clock.now())
        return Response(status_code=202)


def _bad(message: str) -> Response:
    return PlainJson({"error": message}, 400)


def duration(text: str) -> float:
    """Seconds of an ISO 8601 duration of days or weeks and less: P30D, PT1H30M; raises ValueError."""
    match = _DURATION.match(text) if isinstance(text, str) else None
    if match is None or not any(match.groups()):
        raise ValueError(f"{text!r} is not an ISO 8601 duration")
    weeks, days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds).total_seconds()
