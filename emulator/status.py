"""What runs and what there is: for `emulator status` and the overview page."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

_ROLES = (("emulator.functions_host", "functions host"), ("azurite.js", "azurite"), ("inference_host.py", "inference host"))


@dataclass(frozen=True, slots=True)
class Process:
    """One process of the platform; `memory` is its resident set in bytes (pages that it shares are counted in each)."""

    pid: int
    role: str
    memory: int
    cpu_seconds: float

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def processes(root: int) -> list[Process]:
    """A process and everything below it, parents first. Empty where there is no /proc."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        if (fields := _fields(int(entry.name))) is not None:
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found: list[Process] = []
    waiting = [(root, "")]
    while waiting:
        pid, parent = waiting.pop(0)
        process = _process(pid, parent)
        if process is not None:
            found.append(process)
            waiting += [(child, process.role) for child in sorted(children.get(pid, []))]
    return found


def _process(pid: int, parent: str) -> Process | None:
    try:
        fields = _fields(pid)
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return None
    if fields is None:
        return None
    return Process(pid, _role(command, parent), resident * os.sysconf("SC_PAGE_SIZE"),
                   (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"))


def _role(command: str, parent: str) -> str:
    if not parent:
        return "platform"
    if parent in ("inference host", "scoring"):
        return "scoring"  # forks share their parent's command line
    return next((role for part, role in _ROLES if part in command), "job" if parent in ("platform", "job") else parent)


def _fields(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from `state` on; None when the process is gone or only its entry is left."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields


def counts(collections: list[tuple[str, int]]) -> dict[str, int]:
    """Resources by their type: `(collection id, number)` pairs, such as .../workspaces/dev/models/iris/versions.

    >>> counts([("/subscriptions/s/resourcegroups/g/providers/p/workspaces/dev/models/iris/versions", 2)])
    {'models/versions': 2}
    """
    found: Counter[str] = Counter()
    for collection, number in collections:
        parts = collection.strip("/").split("/")
        start = next((place for place, part in enumerate(parts) if part in ("workspaces", "registries")), None)
        if start is not None:
            found["/".join(parts[start + 2::2])] += number
    return dict(sorted(found.items()))
