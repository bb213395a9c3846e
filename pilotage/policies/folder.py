"""`PolicySource` over a folder: every `*.yaml` is a policy but `guardrails.yaml`, the platform team's floors.

A file that can't be read is left out and reported; the others hold. Guardrails that can't be read
leave every policy out: without its floors, no policy is known to be safe.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pilotage.domain.policy import Guardrails, PromotionPolicy, same_endpoint
from pilotage.errors import InvalidPolicy
from pilotage.policies.reading import Problem, read_guardrails, read_policy, stale

GUARDRAILS = "guardrails.yaml"
SUFFIXES = (".yaml", ".yml")

Stamp = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class Loaded:
    """A folder as read at one time. `guardrails` is None when their file has problems."""

    policies: tuple[PromotionPolicy, ...]
    guardrails: Guardrails | None
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...] = ()
    """What is valid and says nothing any more; only where a time was given."""


def load(files: Sequence[Path], guardrails_file: Path | None = None, at: datetime | None = None) -> Loaded:
    """Read policy files under the guardrails of a file; without a file, the default floors hold. With a time: warn of what is over then."""
    guardrails: Guardrails | None = Guardrails(apiVersion="pilotage/v1")
    problems: list[Problem] = []
    warnings: list[Problem] = []
    if guardrails_file is not None and guardrails_file.exists():
        text, unreadable = _text(guardrails_file)
        guardrails, found = read_guardrails(text, guardrails_file.name) if not unreadable else (None, unreadable)
        problems += found
        if guardrails is not None and at is not None:
            warnings += stale(text, guardrails_file.name, guardrails, at)
    read: dict[str, PromotionPolicy] = {}
    for file in files:
        text, unreadable = _text(file)
        policy, found = read_policy(text, file.name, guardrails) if not unreadable else (None, unreadable)
        problems += found
        if policy is not None:
            read[file.name] = policy
            warnings += stale(text, file.name, policy, at) if at is not None else []
    clashes = _clashes(read)
    problems += clashes
    if guardrails is None:
        problems += [Problem(name, 1, "", f"left out until {GUARDRAILS} is valid") for name in sorted(read)]
        read = {}
    refused = {problem.file for problem in clashes}
    policies = tuple(policy for name, policy in sorted(read.items()) if name not in refused)
    return Loaded(policies=policies, guardrails=guardrails, problems=tuple(sorted(problems)), warnings=tuple(sorted(warnings)))


def _text(file: Path) -> tuple[str, list[Problem]]:
    try:
        return file.read_text(encoding="utf-8-sig"), []
    except UnicodeDecodeError as error:
        return "", [Problem(file.name, 1, "", f"byte {error.start} is not UTF-8: save the file as UTF-8")]
    except OSError as error:
        return "", [Problem(file.name, 1, "", f"can't be read: {error.strerror or error}")]


def _clashes(read: dict[str, PromotionPolicy]) -> list[Problem]:
    """Two policies of one name, or that reach one endpoint for one model: both are refused, since either may be meant."""
    problems = []
    for name, policy in read.items():
        for other_name, other in read.items():
            if name == other_name:
                continue
            if policy.name.casefold() == other.name.casefold():
                problems.append(Problem(name, 1, "name", f"{other_name} has the name {policy.name} too: rename one"))
            elif same_endpoint(policy, other):
                target = f"{policy.production.workspace}/{policy.production.target.endpoint}"
                problems.append(Problem(name, 1, "", f"{other_name} brings the same models ({other.match.model}) to the endpoint "
                                        f"{target}: join the two, or give one another endpoint or model pattern"))
    return problems


class FolderPolicies:
    """Policies of one folder, read again when a file changes. Safe to use from several threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._stamp: Stamp | None = None
        self._loaded = Loaded((), None, ())

    def policies(self) -> Sequence[PromotionPolicy]:
        """The valid policies, in the order of their files' names."""
        return self.loaded().policies

    def guardrails(self) -> Guardrails:
        """The floors. Raises InvalidPolicy when their file is not valid."""
        loaded = self.loaded()
        if loaded.guardrails is None:
            raise InvalidPolicy("; ".join(str(problem) for problem in loaded.problems if problem.file == GUARDRAILS))
        return loaded.guardrails

    def problems(self) -> list[str]:
        """Why policies were left out, each with file, line and fix."""
        return [str(problem) for problem in self.loaded().problems]

    def loaded(self) -> Loaded:
        """The folder as it is now. Raises InvalidPolicy when there is no such folder."""
        with self._lock:
            files = self._files()
            stamp = tuple((file.name, *_version(file)) for file in files)
            if stamp != self._stamp:
                policies = [file for file in files if file.name != GUARDRAILS]
                self._loaded, self._stamp = load(policies, self._folder / GUARDRAILS), stamp
            return self._loaded

    def _files(self) -> list[Path]:
        if not self._folder.is_dir():
            raise InvalidPolicy(f"{self._folder} is not a folder: set PILOTAGE_POLICIES to the folder with the policies")
        return sorted(file for file in self._folder.iterdir() if file.suffix in SUFFIXES and file.is_file())


def _version(file: Path) -> tuple[int, int]:
    """Time of the last change in nanoseconds, and size; zeros for a file that vanished meanwhile."""
    try:
        stat = file.stat()
    except FileNotFoundError:
        return 0, 0
    return stat.st_mtime_ns, stat.st_size
