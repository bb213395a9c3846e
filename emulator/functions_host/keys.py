"""Access keys: master opens everything, host keys every function, a function's keys that function, system keys one extension.

Source: learn.microsoft.com, function-keys-how-to. The four keys every host has are in a file that the platform reads too; all
others are in the host's store.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from emulator.functions_host.runtime import Function
from emulator.functions_host.store import HostStore

NAMES = ("master", "default", "eventgrid_extension", "durabletask_extension")
_SYSTEM = ("eventgrid_extension", "durabletask_extension")
HOST, SYSTEM = "host", "system"


class Keys:
    def __init__(self, path: Path, store: HostStore) -> None:
        found: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
        self._path, self._store, self._file = path, store, found
        if any(name not in found for name in NAMES):
            self._file = {**{name: _new() for name in NAMES}, **found}
            self._write()

    def __getitem__(self, name: str) -> str:
        """One of NAMES."""
        return self._file[name]

    def prepare(self, functions: list[Function]) -> None:
        """Give every HTTP function its `default` key."""
        for function in functions:
            if "default" not in self._store.keys(scope_of(function)):
                self._store.set_key(scope_of(function), "default", _new())

    # --- checking -----------------------------------------------------------------------------------------

    def is_master(self, query: Mapping[str, str], headers: Mapping[str, str]) -> bool:
        return _is_one_of(_given(query, headers), [self._file["master"]])

    def opens_extension(self, extension: str, query: Mapping[str, str], headers: Mapping[str, str]) -> bool:
        """The master key, or the extension's system key."""
        return _is_one_of(_given(query, headers), [self._file["master"], self.of(SYSTEM).get(f"{extension}_extension", "")])

    def opens(self, function: Function, query: Mapping[str, str], headers: Mapping[str, str]) -> bool:
        """Whether a request may call an HTTP function, by its auth level."""
        level = str(getattr(function.trigger.get("authLevel"), "value", function.trigger.get("authLevel")) or "FUNCTION").upper()
        if level == "ANONYMOUS":
            return True
        allowed = [self._file["master"]]
        if level == "FUNCTION":
            allowed += [*self.of(HOST).values(), *self._store.keys(scope_of(function)).values()]
        return _is_one_of(_given(query, headers), allowed)

    # --- management ------------------------------------------------------------------------------------------

    def of(self, scope: str) -> dict[str, str]:
        """Names and values of a scope: HOST, SYSTEM or a function's."""
        built_in = {HOST: ("default",), SYSTEM: _SYSTEM}.get(scope, ())
        return {**{name: self._file[name] for name in built_in}, **self._store.keys(scope)}

    def put(self, scope: str, name: str, value: str | None = None) -> tuple[str, bool]:
        """Set a key, to a new secret unless a value is given; returns the value and whether the key is new."""
        value, new = value or _new(), name not in self.of(scope)
        if name in {HOST: ("default", "master"), SYSTEM: _SYSTEM}.get(scope, ()):
            self._file[name] = value
            self._write()
            return value, False
        self._store.set_key(scope, name, value)
        return value, new

    def delete(self, scope: str, name: str) -> bool:
        """False when there is none of that name, or it is one that every host has."""
        return self._store.delete_key(scope, name)

    def _write(self) -> None:
        """Whole and on the disk, before anybody is told."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_suffix(".tmp")
        temporary.touch(mode=0o600)
        with temporary.open("w") as file:
            json.dump(self._file, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self._path)


def scope_of(function: Function) -> str:
    return f"function:{function.name.lower()}"


def _new() -> str:
    return secrets.token_urlsafe(32)


def _given(query: Mapping[str, str], headers: Mapping[str, str]) -> str:
    """The header wins over the query, as in the host."""
    return headers.get("x-functions-key") or query.get("code") or ""


def _is_one_of(given: str, allowed: list[str]) -> bool:
    return any(bool(key) and secrets.compare_digest(given.encode(errors="replace"), key.encode()) for key in allowed)
