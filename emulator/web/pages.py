"""The pages' routes and actions."""

from __future__ import annotations

import asyncio
import hashlib
import re
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import httpx
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from emulator.web import messages, views
from emulator.web.timeline import WIDTH

if TYPE_CHECKING:
    import jinja2

    from emulator.services import Services

ROOT = "/_emulator/ui"
NAVIGATION = (
    ("Overview", "/"), ("Events", f"{ROOT}/events"), ("Orchestrations", f"{ROOT}/orchestrations"), ("Endpoints", f"{ROOT}/endpoints"),
    ("Jobs", f"{ROOT}/jobs"), ("Requests", f"{ROOT}/requests"), ("Mailbox", f"{ROOT}/mailbox"), ("Time and faults", f"{ROOT}/time"))
_HERE = Path(__file__).parent
_STATIC = {"app.css": "text/css", "app.js": "text/javascript", "icon.svg": "image/svg+xml"}
_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
                               "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    # Not no-referrer: with it a browser says of our own forms that they come from nowhere (`Origin: null`).
    "referrer-policy": "same-origin", "x-content-type-options": "nosniff", "cache-control": "no-store"}


class Pages:
    """Server-rendered from the services' present state. Each page is asked for again while it is looked at; see app.js."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/", self._overview),
            Route(f"{ROOT}/events", self._events),
            Route(f"{ROOT}/orchestrations", self._orchestrations),
            Route(ROOT + "/orchestrations/{instance:path}", self._orchestration),
            Route(f"{ROOT}/endpoints", self._endpoints),
            Route(f"{ROOT}/jobs", self._jobs),
            Route(f"{ROOT}/requests", self._requests),
            Route(f"{ROOT}/mailbox", self._mailbox),
            Route(f"{ROOT}/time", self._time),
            Route(ROOT + "/actions/{action}", self._act, methods=["POST"]),
            Route(ROOT + "/static/{name}", self._file),
        ]

    # --- pages --------------------------------------------------------------------------------------

    async def _overview(self, request: Request) -> Response:
        status = await asyncio.to_thread(self._services.status)
        config = self._services.config
        return self._page(request, "overview", "Overview", status=status, config=config,
                          total=sum(process["memory"] for process in status["processes"]))

    async def _events(self, request: Request) -> Response:
        query = request.query_params
        return self._page(request, "events", "Events",
                          **views.events(self._services, query.get("subscription") or None, query.get("state") or None))

    async def _orchestrations(self, request: Request) -> Response:
        return self._page(request, "orchestrations", "Orchestrations",
                          **await views.orchestrations(self._services, request.query_params.get("status") or None))

    async def _orchestration(self, request: Request) -> Response:
        instance = request.path_params["instance"]
        try:
            found = await views.orchestration(self._services, instance)
        except httpx.HTTPError as error:
            return self._page(request, "missing", instance, 502, what=f"The Functions host does not answer: {type(error).__name__}.")
        if found is None:
            return self._page(request, "missing", instance, 404, what=f"There is no orchestration {instance}.")
        return self._page(request, "orchestration", found["name"], **found, scale=WIDTH)

    async def _endpoints(self, request: Request) -> Response:
        return self._page(request, "endpoints", "Endpoints", endpoints=views.endpoints(self._services))

    async def _jobs(self, request: Request) -> Response:
        return self._page(request, "jobs", "Jobs", jobs=views.jobs(self._services))

    async def _requests(self, request: Request) -> Response:
        query, problem = request.query_params, ""
        method, service = query.get("method", ""), query.get("service", "")
        try:
            found = views.requests(self._services, query.get("path", ""), method, service)
        except re.error as error:
            problem = f"The path is a regular expression, and this is none: {error}."
            found = views.requests(self._services, "", method, service) | {"items": [], "more": 0, "path": query.get("path", "")}
        return self._page(request, "requests", "Requests", **found, problem=problem)

    async def _mailbox(self, request: Request) -> Response:
        channel = request.query_params.get("channel") or None
        return self._page(request, "mailbox", "Mailbox", **messages.messages(self._services, channel))

    async def _time(self, request: Request, problem: str = "") -> Response:
        clock = self._services.clock
        return self._page(request, "time", "Time and faults", 400 if problem else 200, now=clock.now(), offset=clock.offset_seconds,
                          faults=self._services.faults.list(), problem=problem)

    # --- actions ------------------------------------------------------------------------------------

    async def _act(self, request: Request) -> Response:
        """What the pages' buttons do. `OwnPages` has checked that the form is one of ours."""
        form = parse_qs((await request.body()).decode(errors="replace"))
        given = {name: values[-1] for name, values in form.items()}
        try:
            target = await self._do(request.path_params["action"], given)
        except (ValueError, OverflowError) as error:
            return await self._time(request, str(error))
        except httpx.HTTPError as error:
            return await self._time(request, f"The Functions host or the storage does not answer: {type(error).__name__}.")
        if target is None:
            return self._page(request, "missing", "Not found", 404, what="There is no such action.")
        return RedirectResponse(target, 303)  # going back or loading again does not do it twice

    async def _do(self, action: str, form: dict[str, str]) -> str | None:
        """Returns the page to go on with; None for an unknown action. Raises ValueError, httpx.HTTPError."""
        from emulator.control import duration

        services = self._services
        match action:
            case "advance":
                await services.control.advance(duration(form.get("advance", "").strip().upper()))
            case "remove-fault":
                services.faults.remove(int(form.get("id", "0")))
            case "clear-faults":
                services.faults.clear()
            case "clear-mailbox":
                services.mailbox.clear()
                return f"{ROOT}/mailbox"
            case "clear-journal":
                services.journal.clear()
                return f"{ROOT}/requests"
            case "reset":
                await services.reset()
                return "/"
            case _:
                return None
        return f"{ROOT}/time"

    # --- rendering ----------------------------------------------------------------------------------

    async def _file(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in _STATIC:
            return Response(status_code=404)
        return FileResponse(_HERE / "static" / name, media_type=_STATIC[name], headers={"cache-control": "no-cache"})

    @cached_property
    def _templates(self) -> jinja2.Environment:
        import jinja2  # when the first page is looked at: most platforms are never looked at

        found = jinja2.Environment(loader=jinja2.FileSystemLoader(_HERE / "templates"), autoescape=True, trim_blocks=True,
                                   lstrip_blocks=True, undefined=jinja2.StrictUndefined)
        found.filters |= {"when": _when, "size": _size, "words": _words}
        found.globals |= {"root": ROOT, "navigation": NAVIGATION}
        return found

    def _page(self, request: Request, template: str, title: str, answer: int = 200, **values: Any) -> Response:
        now = self._services.clock.now()
        path = request.url.path
        here = next((target for _, target in NAVIGATION if target != "/" and path.startswith(target)), "/" if path == "/" else "")
        # Half a surrogate pair may come from an event or an id; no page can carry it.
        body = self._templates.get_template(f"{template}.html").render(title=title, here=here, clock=now, **values).encode(
            "utf-8", "replace")
        tag = f'"{hashlib.sha256(body).hexdigest()[:24]}"'
        return Response(body, answer, {**_HEADERS, "etag": tag}, media_type="text/html; charset=utf-8")


def _when(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def _size(number: int) -> str:
    return f"{number / 1024 / 1024:.0f} MiB"


def _words(text: str) -> str:
    return text.replace("_", " ")
