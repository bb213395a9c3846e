"""Keys: what opens what, and what is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from emulator.functions_host.keys import HOST, SYSTEM, Keys, scope_of
from emulator.functions_host.runtime import Function
from emulator.functions_host.store import HostStore, NewerHostState


def _function(name: str, level: str | None) -> Function:
    trigger: dict[str, Any] = {"type": "httpTrigger", "name": "req"} | ({"authLevel": level} if level else {})
    return Function(name, name, [trigger])


OPEN, OWN, OTHER, ADMIN = (_function("open", "ANONYMOUS"), _function("Own", "function"), _function("other", None),
                           _function("boss", "ADMIN"))


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    found = Keys(tmp_path / "keys.json", HostStore(tmp_path / "host.sqlite"))
    found.prepare([OPEN, OWN, OTHER, ADMIN])
    return found


def test_each_level_opens_to_its_keys(keys: Keys) -> None:
    given = {"none": "", "own": keys.of(scope_of(OWN))["default"], "default": keys["default"], "master": keys["master"],
             "system": keys["eventgrid_extension"]}

    def opened(function: Function) -> set[str]:
        return {name for name, key in given.items() if keys.opens(function, {"code": key}, {})}

    assert opened(OPEN) == set(given)
    assert opened(OWN) == {"own", "default", "master"}
    assert opened(OTHER) == {"default", "master"}, "without a level it is function"
    assert opened(ADMIN) == {"master"}
    assert {name for name, key in given.items() if keys.opens_extension("eventgrid", {}, {"x-functions-key": key})} == {"system", "master"}
    assert not keys.opens_extension("unknown", {}, {})


def test_all_is_kept_and_the_files_are_the_owners_only(keys: Keys, tmp_path: Path) -> None:
    keys.put(scope_of(OWN), "partner", "a")
    rotated, new = keys.put(SYSTEM, "durabletask_extension")
    assert not new
    again = Keys(tmp_path / "keys.json", HostStore(tmp_path / "host.sqlite"))
    again.prepare([OWN])
    assert again.of(scope_of(OWN)) == keys.of(scope_of(OWN))
    assert again["durabletask_extension"] == rotated
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("keys.json", "host.sqlite")] == [0o600, 0o600]


def test_keys_the_platform_made_are_taken_over_with_what_else_is_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text(json.dumps({"master": "m", "link_key": "l"}))
    keys = Keys(tmp_path / "keys.json", HostStore(tmp_path / "host.sqlite"))
    assert keys["master"] == "m"
    assert json.loads((tmp_path / "keys.json").read_text())["link_key"] == "l"


def test_a_key_every_host_has_is_rotated_and_not_deleted(keys: Keys) -> None:
    before = keys["default"]
    assert keys.put(HOST, "default")[0] != before
    assert not keys.delete(HOST, "default")
    assert keys.put(HOST, "mine", "x") == ("x", True)
    assert keys.delete(HOST, "mine")


def test_state_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    store = HostStore(tmp_path / "host.sqlite")
    store._db.execute("pragma user_version=99")
    store.close()
    with pytest.raises(NewerHostState):
        HostStore(tmp_path / "host.sqlite")
