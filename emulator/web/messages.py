"""What the mailbox's page shows of a message. A message is any JSON; what notifications usually have is brought out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from emulator.web.views import SHOWN, pretty

if TYPE_CHECKING:
    from emulator.services import Services

_LINK = re.compile(r"https?://[^\s<>\"'\u200b]+[^\s<>\"'\u200b.,;:!?)\]]")
_TITLE, _LEAD, _TEXT = ("title", "subject"), ("why", "summary"), ("text", "message", "body")


def messages(services: Services, channel: str | None) -> dict[str, Any]:
    """Of one channel or of all, newest first; and the channels with how many messages each has."""
    everything = services.mailbox.messages()
    counts: dict[str, int] = {}
    for message in everything:
        counts[message["channel"]] = counts.get(message["channel"], 0) + 1
    chosen = [message for message in everything if channel in (None, message["channel"])]
    return {
        "items": [{"number": message["number"], "channel": message["channel"],
                   "received": datetime.fromisoformat(message["received"]), **content(message["body"])}
                  for message in reversed(chosen[-SHOWN:])],
        "more": max(0, len(chosen) - SHOWN), "channel": channel, "channels": dict(sorted(counts.items())), "total": len(everything)}


def content(body: Any) -> dict[str, Any]:
    """{"title", "lead", "text", "sections", "links", "whole"}; texts in pieces of (text, link or "")."""
    if not isinstance(body, dict):
        return {"title": "", "lead": [], "text": linked(body) if isinstance(body, str) else [], "sections": {}, "links": [],
                "whole": pretty(body)}
    links = [(name, value) for name, value in body.items() if isinstance(value, str) and value.startswith(("https://", "http://"))]
    sections = {name: found for name, value in body.items() if isinstance(value, dict) and (found := _facts(value))}
    return {"title": _first(body, _TITLE), "lead": linked(_first(body, _LEAD)), "text": linked(_first(body, _TEXT)),
            "sections": sections, "links": links, "whole": pretty(body)}


def linked(text: str) -> list[tuple[str, str]]:
    """A text in pieces; those that are addresses of pages are links to them."""
    pieces, at = [], 0
    for match in _LINK.finditer(text):
        pieces += [(text[at:match.start()], ""), (match[0], match[0])]
        at = match.end()
    return [piece for piece in [*pieces, (text[at:], "")] if piece[0]]


def _first(body: Mapping[str, Any], names: tuple[str, ...]) -> str:
    return next((str(body[name]) for name in names if body.get(name) and not isinstance(body[name], dict | list)), "")


def _facts(value: Mapping[str, Any]) -> dict[str, list[tuple[str, str]]]:
    """The plain values of an object, by name."""
    return {str(name): linked(str(item)) for name, item in value.items() if isinstance(item, str | int | float) and str(item)}
