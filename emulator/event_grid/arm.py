"""Event Grid's management API under `/subscriptions/...`: event subscriptions, topics with their keys, system topics.

Source: Microsoft.EventGrid 2022-06-15 of azure-rest-api-specs. Any api-version is taken. Only paths of Microsoft.EventGrid
match: what is left is another provider's.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Scope

from emulator.config import PlatformConfig
from emulator.context import Clock, IdentityVerifier, Unauthorized
from emulator.event_grid.arm_subscriptions import SubscriptionResources
from emulator.event_grid.arm_topics import ArmRefusal, TopicResources
from emulator.event_grid.schema import InvalidEvents, parse
from emulator.event_grid.subscribing import Refused, Subscribing
from emulator.event_grid.subscriptions import Subscriptions
from emulator.event_grid.topics import DeclaredTopic, Topics

logger = logging.getLogger(__name__)

_OWN = re.compile(r"^/subscriptions/.*/providers/Microsoft\.EventGrid(/|$)", re.IGNORECASE)
_GROUP = r"^/subscriptions/(?P<subscription>[^/]+)(?:/resourceGroups/(?P<group>[^/]+))?"
_PROVIDER = r"/providers/Microsoft\.EventGrid"
_TOPIC = re.compile(rf"{_GROUP}{_PROVIDER}/(?P<kind>topics|systemTopics)(?:/(?P<name>[^/]+)(?:/(?P<action>listKeys|regenerateKey))?)?/?$",
                    re.IGNORECASE)
_OF_TOPIC = re.compile(rf"{_GROUP}{_PROVIDER}/(?P<kind>topics|systemTopics)/(?P<topic>[^/]+)(?:{_PROVIDER})?/eventSubscriptions"
                       r"(?:/(?P<name>[^/]+)(?:/(?P<action>getFullUrl|getDeliveryAttributes))?)?/?$", re.IGNORECASE)
_OF_WORKSPACE = re.compile(
    rf"{_GROUP}/providers/Microsoft\.MachineLearningServices/workspaces/(?P<topic>[^/]+){_PROVIDER}/eventSubscriptions"
    r"(?:/(?P<name>[^/]+)(?:/(?P<action>getFullUrl|getDeliveryAttributes))?)?/?$", re.IGNORECASE)
_EVERYWHERE = re.compile(rf"{_GROUP}{_PROVIDER}(?:/locations/(?P<location>[^/]+))?(?:/topicTypes/(?P<type>[^/]+))?/eventSubscriptions/?$",
                         re.IGNORECASE)
_EVENT_TYPES = re.compile(rf"{_GROUP}/providers/Microsoft\.MachineLearningServices/workspaces/(?P<topic>[^/]+){_PROVIDER}/eventTypes/?$",
                          re.IGNORECASE)
METHODS = ["GET", "PUT", "PATCH", "POST", "DELETE"]


class _OwnPaths(Route):
    """Leaves the paths of other providers alone."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] == "http" and not _OWN.search(scope["path"]):
            return Match.NONE, {}
        return super().matches(scope)


@dataclass(frozen=True)
class _Ask:
    method: str
    path: str
    address: str
    """Scheme, host and path."""
    query: dict[str, str]
    body: Any


class Management:
    """Authenticates, finds the resource a path names, and answers as Azure Resource Manager does."""

    def __init__(self, config: PlatformConfig, topics: Topics, subscriptions: Subscriptions, subscribing: Subscribing,
                 identity: IdentityVerifier, endpoint: Callable[[str], str], clock: Clock) -> None:
        self._config, self._identity = config, identity
        self._topics = TopicResources(config, topics, subscriptions, subscribing, endpoint)
        self._subscriptions = SubscriptionResources(config, topics, subscriptions, subscribing, clock)

    def routes(self) -> list[BaseRoute]:
        return [_OwnPaths("/subscriptions/{rest:path}", self.serve, methods=METHODS)]

    async def serve(self, request: Request) -> Response:
        try:
            self._identity.caller(request.headers.get("authorization"))
        except Unauthorized as problem:
            return _error(401, "AuthenticationFailed", f"Authentication failed. {problem}", {"WWW-Authenticate": "Bearer"})
        try:
            raw = await request.body()
            ask = _Ask(request.method, request.url.path, str(request.url.replace(query="")).rstrip("?"),
                       dict(request.query_params), parse(raw) if raw else {})
            if not isinstance(ask.body, dict):
                raise ArmRefusal(400, "InvalidRequestContent", "The request body must be a JSON object.")
            return await self._answer(ask)
        except (InvalidEvents, RecursionError) as problem:
            return _error(400, "InvalidRequestContent", str(problem))
        except Refused as refusal:
            return _error(400, refusal.code, str(refusal))
        except DeclaredTopic as refusal:
            return _error(409, "Conflict", str(refusal))
        except ArmRefusal as refusal:
            return _error(refusal.status, refusal.code, str(refusal))
        except Exception as problem:
            logger.exception("%s %s broke", request.method, request.url.path)
            return _error(500, "InternalServerError", f"{type(problem).__name__}: {problem}")

    async def _answer(self, ask: _Ask) -> Response:
        if found := _TOPIC.match(ask.path):
            self._check_place(found)
            return self._of_kind(ask, found["kind"].casefold() == "topics", found["name"], (found["action"] or "").casefold())
        if found := _OF_TOPIC.match(ask.path) or _OF_WORKSPACE.match(ask.path):
            self._check_place(found)
            kind = found.groupdict().get("kind", "workspaces").casefold()
            return await self._of_subscription(ask, kind, found["topic"], found["name"], (found["action"] or "").casefold())
        if ask.method == "GET" and (found := _EVERYWHERE.match(ask.path)):
            self._check_place(found)
            return _listed(self._subscriptions.everywhere(found["type"], found["location"]), ask)
        if ask.method == "GET" and (found := _EVENT_TYPES.match(ask.path)):
            self._check_place(found)
            return JSONResponse({"value": self._topics.event_types(found["topic"])})
        raise ArmRefusal(404, "InvalidResourceType", f"{ask.path} is not a path of Microsoft.EventGrid that the local platform has.")

    def _check_place(self, found: re.Match[str]) -> None:
        if found["subscription"].casefold() != self._config.subscription.casefold():
            raise ArmRefusal(404, "SubscriptionNotFound", f"The subscription '{found['subscription']}' could not be found.")
        if found["group"] is not None and found["group"].casefold() != self._config.resource_group.casefold():
            raise ArmRefusal(404, "ResourceGroupNotFound", f"Resource group '{found['group']}' could not be found.")

    def _of_kind(self, ask: _Ask, custom: bool, name: str | None, action: str) -> Response:
        resources = self._topics
        match ask.method, bool(name), action:
            case "GET", False, "":
                return _listed(resources.list(custom), ask)
            case "GET", True, "":
                return JSONResponse(resources.get(custom, name or ""))
            case "PUT", True, "":
                return JSONResponse(resources.put(custom, name or "", ask.body), 201)
            case "PATCH", True, "" if custom:
                return JSONResponse(resources.patch(name or "", ask.body), 200)
            case "DELETE", True, "":
                return Response(status_code=202 if resources.remove(custom, name or "") else 204)
            case "POST", True, "listkeys" if custom:
                return JSONResponse(resources.keys(name or ""))
            case "POST", True, "regeneratekey" if custom:
                return JSONResponse(resources.regenerate(name or "", ask.body.get("keyName")))
        raise ArmRefusal(405, "MethodNotAllowed", f"{ask.path} does not take {ask.method}.")

    async def _of_subscription(self, ask: _Ask, kind: str, topic: str, name: str | None, action: str) -> Response:
        resources, place = self._subscriptions, self._subscriptions.place(kind, topic)
        match ask.method, bool(name), action:
            case "GET", False, "":
                return _listed(resources.list(place), ask)
            case "GET", True, "":
                return JSONResponse(resources.get(place, name or ""))
            case "PUT", True, "":
                return JSONResponse(await resources.put(place, name or "", ask.body.get("properties")), 201)
            case "PATCH", True, "":
                return JSONResponse(await resources.patch(place, name or "", ask.body), 201)
            case "DELETE", True, "":
                return Response(status_code=200 if resources.remove(place, name or "") else 204)
            case "POST", True, "getfullurl":
                return JSONResponse(resources.full_url(place, name or ""))
            case "POST", True, "getdeliveryattributes":
                return JSONResponse({"value": resources.delivery_attributes(place, name or "")})
        raise ArmRefusal(405, "MethodNotAllowed", f"{ask.path} does not take {ask.method}.")


_CLAUSE = re.compile(
    r"^\s*(?:(?P<no>not\s+)?contains\(\s*name\s*,\s*'(?P<part>[^']*)'\s*\)|name\s+(?P<how>eq|ne)\s+'(?P<whole>[^']*)')\s*$",
    re.IGNORECASE)


def _listed(items: list[dict[str, Any]], ask: _Ask) -> Response:
    """`$filter` on the name, `$top` of 1 to 100, and a link to what comes after."""
    if text := ask.query.get("$filter"):
        items = [item for item in items if _passes(text, str(item["name"]))]
    try:
        top, skip = int(ask.query.get("$top", "100")), int(ask.query.get("$skiptoken", "0"))
    except ValueError:
        top = skip = -1
    if not 1 <= top <= 100 or skip < 0:
        raise ArmRefusal(400, "InvalidRequest", "$top is a number from 1 to 100.")
    answer: dict[str, Any] = {"value": items[skip:skip + top]}
    if len(items) > skip + top:
        answer["nextLink"] = f"{ask.address}?{urlencode({**ask.query, '$skiptoken': str(skip + top)})}"
    return JSONResponse(answer)


def _passes(text: str, name: str) -> bool:
    clause = _CLAUSE.match(text)
    if clause is None:
        raise ArmRefusal(400, "InvalidRequest", f"The $filter {text!r} is not one of contains(name, '...'), not contains(...), "
                                                "name eq '...', name ne '...'.")
    if clause["part"] is not None:
        return (clause["part"].casefold() in name.casefold()) != bool(clause["no"])
    return (clause["whole"].casefold() == name.casefold()) == (clause["how"].casefold() == "eq")


def _error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": {"code": code, "message": message}}, status, headers)
