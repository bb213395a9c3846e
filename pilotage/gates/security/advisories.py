"""Known vulnerabilities of pinned packages, from advisories in OSV's JSON format (https://ossf.github.io/osv-schema/)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from pilotage.errors import InvalidInput
from pilotage.gates.security.findings import Finding
from pilotage.gates.security.pins import Pin
from pilotage.gates.tables import Files

LEVELS = ("none", "low", "medium", "high", "critical")
_WORDS = {"moderate": "medium", "important": "high"}


def read(files: Files, of: str) -> list[dict[str, Any]]:
    """Every advisory of an asset: one object a file, a list, or JSON lines. Raises InvalidInput with the place."""
    found: list[dict[str, Any]] = []
    for path, content in files:
        if not path.endswith((".json", ".jsonl")):
            continue
        lines = content.splitlines() if path.endswith(".jsonl") else [content]
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise InvalidInput(f"{path}:{number} of {of} is not JSON: {error}") from error
            for entry in value if isinstance(value, list) else [value]:
                if not isinstance(entry, dict) or not isinstance(entry.get("id"), str) or not isinstance(entry.get("affected", []), list):
                    raise InvalidInput(f"{path}:{number} of {of} is no advisory in OSV's format: it needs an id, and affected as a list")
                found.append(entry)
    if not found:
        raise InvalidInput(f"{of} holds no advisory: it needs .json or .jsonl files in OSV's format")
    return found


def check(pins: Sequence[Pin], advisories: Sequence[Mapping[str, Any]], worst: str) -> list[Finding]:
    """Pinned packages with an advisory worse than `worst`; each says which version is the first without it."""
    by_name: dict[str, list[tuple[Mapping[str, Any], Mapping[str, Any]]]] = {}
    for advisory in advisories:
        for affected in advisory.get("affected") or []:
            package = affected.get("package") or {} if isinstance(affected, dict) else {}
            if not advisory.get("withdrawn") and str(package.get("ecosystem", "")).casefold() == "pypi":
                by_name.setdefault(canonicalize_name(str(package.get("name", ""))), []).append((advisory, affected))
    findings = []
    for pin in pins:
        for advisory, affected in by_name.get(pin.name, []):
            level = severity(advisory, affected)
            if is_affected(pin.version, affected) and LEVELS.index(level) > LEVELS.index(worst):
                fixed = ", ".join(sorted(_events(affected, "fixed")))
                findings.append((-LEVELS.index(level), Finding(
                    part="advisories", level="failed", message=f"{pin.name} {pin.version} has {advisory['id']} ({level})"
                    + (f", mended in {fixed}" if fixed else ", not mended yet"))))
    return [finding for _, finding in sorted(findings, key=lambda entry: (entry[0], entry[1].message))]


def is_affected(version: str, affected: Mapping[str, Any]) -> bool:
    """Whether a version is in the advisory's list, or in a range: from each `introduced` on, until `fixed` or past `last_affected`."""
    if version in (affected.get("versions") or []):
        return True
    try:
        pinned = Version(version)
    except InvalidVersion:
        return False
    if any(_same(pinned, other) for other in affected.get("versions") or []):
        return True
    return any(_in_range(pinned, scope.get("events") or []) for scope in affected.get("ranges") or []
               if isinstance(scope, dict) and scope.get("type") in ("ECOSYSTEM", "SEMVER"))


def _in_range(pinned: Version, events: Sequence[Mapping[str, str]]) -> bool:
    """The events in order of version; at one version `introduced` comes first."""
    order = {"introduced": 0, "last_affected": 1, "fixed": 2}
    sorted_events: list[tuple[Version, int, str]] = []
    for event in events:
        for kind, text in event.items():
            if kind in order and (at := _version(text)) is not None:
                sorted_events.append((at, order[kind], kind))
    inside = False
    for at, _, kind in sorted(sorted_events):
        if kind == "introduced" and pinned >= at:
            inside = True
        elif (kind == "fixed" and pinned >= at) or (kind == "last_affected" and pinned > at):
            inside = False
    return inside


def _version(text: str) -> Version | None:
    try:
        return Version("0.dev0" if text == "0" else text)
    except InvalidVersion:
        return None


def _same(pinned: Version, text: str) -> bool:
    try:
        return Version(text) == pinned
    except InvalidVersion:
        return False


def _events(affected: Mapping[str, Any], kind: str) -> Iterator[str]:
    for scope in affected.get("ranges") or []:
        yield from (str(event[kind]) for event in scope.get("events") or [] if kind in event)


def severity(advisory: Mapping[str, Any], affected: Mapping[str, Any]) -> str:
    """low, medium, high or critical: the database's own word, else of the CVSS 3 base score; untold counts as high."""
    for told in (affected, advisory):
        for where in ("database_specific", "ecosystem_specific"):
            word = str((told.get(where) or {}).get("severity", "")).casefold()
            word = _WORDS.get(word, word)
            if word in LEVELS:
                return word
    scores = [score for told in (affected, advisory) for entry in told.get("severity") or []
              if (score := base_score(str(entry.get("score", "")))) is not None]
    if not scores:
        return "high"
    best = max(scores)
    return "none" if best == 0 else "low" if best < 4 else "medium" if best < 7 else "high" if best < 9 else "critical"


_METRICS: dict[str, dict[str, float]] = {
    "AV": {"N": 0.85, "A": 0.62, "L": 0.55, "P": 0.2}, "AC": {"L": 0.77, "H": 0.44}, "UI": {"N": 0.85, "R": 0.62},
    "C": {"H": 0.56, "L": 0.22, "N": 0}, "I": {"H": 0.56, "L": 0.22, "N": 0}, "A": {"H": 0.56, "L": 0.22, "N": 0},
}
_PRIVILEGES = {"U": {"N": 0.85, "L": 0.62, "H": 0.27}, "C": {"N": 0.85, "L": 0.68, "H": 0.5}}


def base_score(vector: str) -> float | None:
    """The base score of a CVSS 3.0 or 3.1 vector (first.org, section 7.1); None for any other text."""
    if not vector.startswith(("CVSS:3.0/", "CVSS:3.1/")):
        return None
    told = dict(part.split(":", 1) for part in vector.split("/")[1:] if ":" in part)
    try:
        values = {name: weights[told[name]] for name, weights in _METRICS.items()}
        changed = told["S"] == "C"
        privileges = _PRIVILEGES[told["S"]][told["PR"]]
    except KeyError:
        return None
    impact_base = 1 - (1 - values["C"]) * (1 - values["I"]) * (1 - values["A"])
    impact = 7.52 * (impact_base - 0.029) - 3.25 * (impact_base - 0.02) ** 15 if changed else 6.42 * impact_base
    if impact <= 0:
        return 0.0
    exploitability = 8.22 * values["AV"] * values["AC"] * privileges * values["UI"]
    return _round_up(min((1.08 if changed else 1) * (impact + exploitability), 10))


def _round_up(value: float) -> float:
    """To one decimal, up, as the standard defines it without the noise of floating point."""
    whole = round(value * 100_000)
    return whole / 100_000 if whole % 10_000 == 0 else (math.floor(whole / 10_000) + 1) / 10
