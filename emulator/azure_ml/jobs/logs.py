"""Logs of runs: files here while a run goes on, addresses that the SDK's `jobs.stream` can read without a token."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from pathlib import Path
from urllib.parse import quote

from emulator.azure_ml.jobs.data import Folder
from emulator.azure_ml.jobs.runs import Run

COMMAND_LOG = "user_logs/std_log.txt"
PIPELINE_LOG = "logs/azureml/executionlogs.txt"


class Logs:
    """As in Azure a log's address is signed: it carries the right to read this one file."""

    def __init__(self, root: Path, base_url: str) -> None:
        self._root = root
        self._base_url = base_url
        self._key = signing_key(root / "log.key")

    def folder(self, run: Run) -> Folder:
        """The run's folder. A workspace's name and a run's name make a path by themselves."""
        return Folder(self._root / run.scope_id.rpartition("/")[2].lower() / run.name.lower())

    def file(self, run: Run, name: str) -> Path:
        return self.folder(run).logs / name

    def add(self, run: Run, line: str, when: str) -> None:
        """Append a line to a pipeline's log."""
        path = self.file(run, PIPELINE_LOG)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as log:
            log.write(f"[{when}] {line}\n")

    def addresses(self, run: Run) -> dict[str, str]:
        """Name -> URL of every log file that there is."""
        root = self.folder(run).logs
        names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
        return {name: f"{self._base_url}/logs{quote(run.id)}/{quote(name)}?sig={self._signature(run, name)}" for name in names}

    def read(self, run: Run, name: str, signature: str) -> bytes | None:
        """The file's content; None when the signature is wrong or there is no such file."""
        if not hmac.compare_digest(signature, self._signature(run, name)):
            return None
        path = self.file(run, name)
        return path.read_bytes() if path.is_file() else None

    def tail(self, run: Run, name: str = COMMAND_LOG, characters: int = 1500) -> str:
        path = self.file(run, name)
        return path.read_text(encoding="utf-8", errors="replace")[-characters:].strip() if path.is_file() else ""

    def _signature(self, run: Run, name: str) -> str:
        return hmac.new(self._key, f"{run.id}/{name}".lower().encode(), hashlib.sha256).hexdigest()


def signing_key(path: Path) -> bytes:
    """A secret of this platform, made on first use; only its owner can read the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    key = path.read_bytes() if path.exists() else b""
    if not key:  # empty: a platform was killed between making the file and writing it
        new = path.with_suffix(".new")
        new.touch(mode=0o600)
        new.write_bytes(key := secrets.token_bytes(32))
        new.replace(path)
    return key
