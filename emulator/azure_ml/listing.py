"""Lists of assets: view type, order, filters and `$top`, as the query asks."""

from __future__ import annotations

from typing import Any

from emulator.azure_ml.resource import ArmRequest
from emulator.azure_ml.store import Resource
from emulator.azure_ml.system_data import shown


def page(items: list[Resource], request: ArmRequest) -> dict[str, Any]:
    """`{"value": [...]}` with the items (oldest first as given) that the request's query selects.

    Newest first, unless `$orderBy` asks for `createdtime asc`.
    """
    query = request.query
    chosen = [item for item in items if selected(item["properties"], dict(query), item["name"])]
    if not query.get("$orderBy", "createdtime desc").lower().endswith("asc"):
        chosen.reverse()
    top = query.get("$top")
    if top is not None and top.isdecimal():
        chosen = chosen[: int(top)]
    return {"value": [shown(item) for item in chosen]}


def selected(properties: dict[str, Any], query: dict[str, str], name: str = "") -> bool:
    """Whether an item is in the view and passes the filters for stage, hash, version, tags and properties."""
    view = query.get("listViewType", "ActiveOnly").lower().replace("_", "")
    # On Python 3.13 the SDK sends the member's repr: `ListViewType.ACTIVE_ONLY`.
    view = view.removeprefix("listviewtype.")
    archived = bool(properties.get("isArchived"))
    if (view == "activeonly" and archived) or (view == "archivedonly" and not archived):
        return False
    if query.get("stage") and properties.get("stage") != query["stage"]:
        return False
    if query.get("version") and name != query["version"]:
        return False
    own = properties.get("properties") or {}
    if query.get("hash") and own.get("hash_sha256") != query["hash"]:
        return False
    return has(properties.get("tags") or {}, query.get("tags")) and has(own, query.get("properties"))


def has(values: dict[str, Any], wanted: str | None) -> bool:
    """`a=1,b` wants the value 1 of a, and any value of b."""
    for part in (wanted or "").split(","):
        key, separator, value = part.strip().partition("=")
        if key and (key not in values or (separator and str(values[key]) != value)):
            return False
    return True
