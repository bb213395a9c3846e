"""Groups that do not fit into a token: Microsoft Graph is asked, about the groups that a rule names and no others."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any
from urllib.parse import quote

import httpx

from pilotage.errors import Forbidden, PermissionDenied, Throttled, Unavailable

TIMEOUT = 10.0
"""Seconds."""
KEEP_FOR = 60.0
"""Seconds that an answer holds: a page and the decision on it are one question, and who has left a group is out of it soon."""
AT_ONCE = 20
"""Groups that one request may name. Source: learn.microsoft.com, graph/api/directoryobject-checkmembergroups."""
_REMEMBERED = 4096
PERMISSION = "GroupMember.Read.All"

Post = Callable[[str, dict[str, Any]], tuple[int, Any]]
"""URL and JSON body -> status and JSON answer; raises Unavailable when there is none."""


class GraphGroups:
    """Implements the port `Groups` with `checkMemberGroups`, which follows groups within groups."""

    def __init__(self, url: str, post: Post | None = None, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._url, self._monotonic = url.rstrip("/"), monotonic
        self._post = post or self._send
        self._known: dict[tuple[str, str], tuple[bool, float]] = {}
        self._lock = Lock()

    def of(self, object_id: str, candidates: Sequence[str]) -> list[str]:
        """Raises Unavailable, Throttled, PermissionDenied or Forbidden: a question without an answer makes nobody a member."""
        person, now = object_id.casefold(), self._monotonic()
        with self._lock:
            answers = {group: known[0] for group in candidates
                       if (known := self._known.get((person, group.casefold()))) and now - known[1] <= KEEP_FOR}
        unknown = [group for group in dict.fromkeys(candidates) if group not in answers]
        for first in range(0, len(unknown), AT_ONCE):
            asked = unknown[first:first + AT_ONCE]
            members = self._ask(object_id, asked)
            answers |= {group: group.casefold() in members for group in asked}
        with self._lock:
            if len(self._known) > _REMEMBERED:
                self._known.clear()
            self._known |= {(person, group.casefold()): (answers[group], now) for group in unknown}
        return [group for group in dict.fromkeys(candidates) if answers[group]]

    def _ask(self, object_id: str, groups: list[str]) -> set[str]:
        status, answer = self._post(f"{self._url}/v1.0/users/{quote(object_id, safe='')}/checkMemberGroups", {"groupIds": groups})
        if status == 200 and isinstance(answer, dict) and isinstance(found := answer.get("value"), list):
            return {group.casefold() for group in found if isinstance(group, str)}
        if status in (401, 403):
            raise PermissionDenied(f"Microsoft Graph does not tell us group memberships: grant Pilotage's identity {PERMISSION}")
        if status == 404:
            raise Forbidden("the directory does not know you any more, so your groups can't be resolved")
        if status == 400:
            raise Forbidden("the directory does not take the groups that the policy names: check their object ids")
        if status == 429:
            raise Throttled("Microsoft Graph asked for fewer requests; try again later")
        raise Unavailable(f"group membership can't be resolved: Microsoft Graph answered {status}")

    def _send(self, url: str, body: dict[str, Any]) -> tuple[int, Any]:
        from azure.core.exceptions import AzureError

        from pilotage.credentials import credential

        try:
            token = credential().get_token(f"{self._url}/.default").token
            response = httpx.post(url, json=body, headers={"Authorization": f"Bearer {token}"}, timeout=TIMEOUT)
            return response.status_code, response.json() if response.content else None
        except (AzureError, httpx.HTTPError, ValueError) as error:
            # The cause may quote a request with its token.
            raise Unavailable(f"group membership can't be resolved: Microsoft Graph can't be asked ({type(error).__name__})") from None
