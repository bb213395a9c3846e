"""What a model says it needs: every requirement names one exact version, from an index."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from pilotage.errors import TooLarge
from pilotage.gates.interface import Trial
from pilotage.gates.security.findings import Finding

FILE_LIMIT = 1024 * 1024
_FILES = ("requirements.txt", "conda.yaml", "conda.yml", "python_env.yaml")


class Pin(NamedTuple):
    """One package at one version, and the file that says so."""

    name: str
    """Normalised (PEP 503)."""
    version: str
    where: str


def read(trial: Trial) -> tuple[list[Pin], list[Finding]]:
    """The pinned packages, and what is not pinned. conda's own packages are told by name only: advisories are PyPI's."""
    pins: dict[tuple[str, str], Pin] = {}
    findings: list[Finding] = []
    files = [file for file in trial.artifact() if file.path.rsplit("/", 1)[-1] in _FILES and file.path.count("/") <= 1]
    if not files:
        return [], [Finding(part="pins", level="unknown", message="the model names no requirements (no requirements.txt, no conda.yaml)")]
    for file in files:
        try:
            text = trial.read_artifact(file.path, FILE_LIMIT).decode("utf-8-sig")
            lines = list(_requirements(file.path, text))
        except (TooLarge, UnicodeDecodeError, yaml.YAMLError, AttributeError, TypeError) as error:
            findings.append(Finding(part="pins", level="failed", message=f"{file.path} can't be read: {error}"))
            continue
        for line in lines:
            found = _pin(line, file.path)
            if isinstance(found, Finding):
                findings.append(found)
            elif found is not None:
                pins.setdefault((found.name, found.version), found)
    versions: dict[str, set[str]] = {}
    for pin in pins.values():
        versions.setdefault(pin.name, set()).add(pin.version)
    findings += [Finding(part="pins", level="failed", message=f"{name} is pinned to {' and '.join(sorted(several))} in different files")
                 for name, several in sorted(versions.items()) if len(several) > 1]
    # One requirement that stands in two files is one finding.
    return list(pins.values()), list({finding.message: finding for finding in findings}.values())


def _requirements(path: str, text: str) -> Iterator[str]:
    """Lines in pip's form."""
    if path.endswith(".txt"):
        lines: list[Any] = text.replace("\\\n", " ").splitlines()
    else:
        told = yaml.safe_load(text) or {}
        dependencies = told.get("dependencies") or []
        lines = [line for entry in dependencies if isinstance(entry, dict) for line in entry.get("pip") or []]
        if path.endswith("python_env.yaml"):
            # It points to requirements.txt, which is read by itself.
            lines = [entry for entry in dependencies if isinstance(entry, str) and not entry.startswith("-r")]
    for line in lines:
        plain = str(line).split(" #", 1)[0].strip()
        if plain and not plain.startswith("#"):
            yield plain


def _pin(line: str, where: str) -> Pin | Finding | None:
    if line.startswith("-"):
        if line.startswith(("-r", "-c", "--hash", "--require-hashes", "--no-binary", "--only-binary", "--prefer-binary")):
            return None
        # An index of somebody's own, an editable folder: the name alone no longer says what is installed.
        return Finding(part="pins", level="failed", message=f"{where} has {line[:80]!r}, which lets something else be installed")
    text = line.split(" --hash", 1)[0].strip()
    try:
        found = Requirement(text)
    except InvalidRequirement:
        return Finding(part="pins", level="failed", message=f"{where}: {text[:80]!r} is no requirement of a package and a version")
    if found.url:
        if "#sha256=" in found.url or "@sha256=" in found.url:
            return None
        return Finding(part="pins", level="failed", message=f"{where}: {found.name} comes from {found.url[:80]} without a hash")
    exact = [clause for clause in found.specifier if clause.operator in ("==", "===") and not clause.version.endswith(".*")]
    if len(exact) != 1:
        return Finding(part="pins", level="failed", message=f"{where}: {text[:80]} is not pinned: write {found.name}==<version>")
    return Pin(canonicalize_name(found.name), exact[0].version, where)
