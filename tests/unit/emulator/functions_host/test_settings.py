"""host.json and local.settings.json as Core Tools reads them."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from emulator.functions_host.settings import InvalidSettings, host_json, local_port, local_settings, number, read_json, resolve, time_span
from emulator.functions_host.versions import Versions, compare


def _write(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_comments_and_trailing_commas_are_allowed_outside_of_strings(tmp_path: Path) -> None:
    path = _write(tmp_path / "host.json", """\ufeff{
        // a comment, "with a quote
        "version": "2.0", /* another
        */ "text": "http://x/*no*/, }", "list": [1, 2,],
    }""")
    assert read_json(path) == {"version": "2.0", "text": "http://x/*no*/, }", "list": [1, 2]}


def test_the_environment_overrides_host_json_in_any_case(tmp_path: Path) -> None:
    path = _write(tmp_path / "host.json", {"version": "2.0", "extensions": {"http": {"routePrefix": "api"}}})
    found = host_json(path, {"AzureFunctionsJobHost__extensions__HTTP__routeprefix": "v2",
                             "AZUREFUNCTIONSJOBHOST__functionTimeout": "00:01:00",
                             "AzureFunctionsJobHost__extensions__durableTask__maxConcurrentActivityFunctions": "3", "OTHER": "x"})
    assert found == {"version": "2.0", "functionTimeout": "00:01:00",
                     "extensions": {"http": {"routePrefix": "v2"}, "durableTask": {"maxConcurrentActivityFunctions": 3}}}


@pytest.mark.parametrize(("content", "message"), [
    ({"extensions": {}}, "'version'"), ({"version": "1.0"}, "'version'"), ("[]", "not a JSON object"), ("{", "can't be read"),
    ({"version": "2.0", "extensions": []}, "'extensions'")])
def test_a_host_json_that_can_not_be_used_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(InvalidSettings, match=message):
        host_json(_write(tmp_path / "host.json", content), {})


def test_a_folder_without_host_json_is_no_app(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="not the folder of a Functions app"):
        host_json(tmp_path / "host.json", {})


def test_values_become_settings_unless_the_environment_has_them(tmp_path: Path) -> None:
    environment = {"KEPT": "mine"}
    host = local_settings(_write(tmp_path / "local.settings.json", {
        "IsEncrypted": False, "Values": {"KEPT": "theirs", "NEW": "x", "NUMBER": 7, "FLAG": True, "NOTHING": None},
        "ConnectionStrings": {"Db": "Server=x", "Old": {"ConnectionString": "y", "ProviderName": "z"}}, "Host": {"LocalHttpPort": 7072}}),
        environment)
    assert environment == {"KEPT": "mine", "NEW": "x", "NUMBER": "7", "FLAG": "true", "ConnectionStrings:Db": "Server=x",
                           "ConnectionStrings:Old": "y"}
    assert host == {"LocalHttpPort": 7072}
    assert local_port(tmp_path) == 7072
    assert local_port(tmp_path / "nowhere") is None


@pytest.mark.parametrize(("content", "message"), [
    ({"IsEncrypted": True, "Values": {"A": "CfDJ8"}}, "encrypted"), ({"Values": []}, "'Values'"),
    ({"Values": {"A": {"B": "c"}}}, "'Values:A'"), ({"Host": 1}, "'Host'")])
def test_local_settings_that_can_not_be_used_are_refused(tmp_path: Path, content: Any, message: str) -> None:
    environment: dict[str, str] = {}
    with pytest.raises(InvalidSettings, match=message):
        local_settings(_write(tmp_path / "local.settings.json", content), environment)
    assert environment == {}


def test_percent_names_are_filled_in() -> None:
    assert resolve("a-%X%-%Y.Z%", {"X": "1", "Y.Z": "2"}) == "a-1-2"
    assert resolve("100 % sure", {}) == "100 % sure"
    with pytest.raises(InvalidSettings, match="'HUB'"):
        resolve("%HUB%", {})


@pytest.mark.parametrize(("text", "expected"), [
    ("00:10:00", timedelta(minutes=10)), ("1.02:03:04.5", timedelta(days=1, hours=2, minutes=3, seconds=4.5)),
    ("00:05", timedelta(minutes=5)),
    ("-00:01:00", timedelta(minutes=-1)), ("24:00:00", None), ("00:60:00", None), ("5", None), ("0 0 * * * *", None)])
def test_time_spans(text: str, expected: timedelta | None) -> None:
    assert time_span(text) == expected


@pytest.mark.parametrize("value", [0, -1, "8", 1.5, True])
def test_a_number_out_of_its_range_is_named(value: Any) -> None:
    with pytest.raises(InvalidSettings, match="'most'"):
        number({"most": value}, "most", 4)
    assert number({}, "most", 4) == number({"most": None}, "most", 4) == 4


@pytest.mark.parametrize(("match", "version", "runs"), [
    (None, "1.4.0", True), (None, "1.3", True), (None, "", True), (None, "1.5", False), ("Strict", "1.3", False), ("strict", "1.4.0", True),
    ("Strict", "", False), ("None", "9.0", True), ("CurrentOrOlder", "1.10.0", False)])
def test_which_versions_run_here(match: str | None, version: str, runs: bool) -> None:
    settings = {"defaultVersion": "1.4.0"} | ({"versionMatchStrategy": match} if match else {})
    assert (Versions(settings).mismatch(version) is None) is runs
    assert Versions({}).mismatch(version) is None


def test_versions_compare_by_number_and_otherwise_as_text() -> None:
    assert [compare("1.10", "1.9"), compare("1.0", "1.0"), compare("", "1.0"), compare("alpha", "Beta"), compare("2", "10")] == [1, 0, -1,
        -1, 1]


def test_an_unknown_strategy_is_refused() -> None:
    with pytest.raises(InvalidSettings, match="versionFailureStrategy"):
        Versions({"versionFailureStrategy": "Shrug"})
