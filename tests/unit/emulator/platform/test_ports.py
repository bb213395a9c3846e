"""Which ports the platform uses."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulator.ports import FIXED, PortTaken, choose, listener


@pytest.fixture(autouse=True)
def claims(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[int, socket.socket]]:
    """Of one test: the process goes on, and needs none of them."""
    found: dict[int, socket.socket] = {}
    monkeypatch.setattr("emulator.ports._claims", found)
    yield found
    for claim in found.values():
        claim.close()


def test_automatic_ports_differ_and_come_back(tmp_path: Path) -> None:
    path = tmp_path / "ports.json"
    first = choose(path, automatic=True)
    assert set(first) == set(FIXED)
    assert len(set(first.values())) == len(first)
    assert json.loads(path.read_text()) == first
    assert choose(path, automatic=True) == first


def test_no_two_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emulator.ports._RANGE", range(20000, 20040))
    chosen = [port for number in range(3) for port in choose(tmp_path / f"{number}.json", automatic=True).values()]
    assert len(set(chosen)) == 3 * len(FIXED), "also of several platforms in one process"


def test_what_another_platform_is_about_to_use_is_left_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as others:
        others.bind(("127.0.0.1", 0))
        port = others.getsockname()[1]
        monkeypatch.setattr("emulator.ports._RANGE", [port, *range(20100, 20140)])
        for number in range(5):
            assert port not in choose(tmp_path / f"{number}.json", automatic=True).values()
        (tmp_path / "earlier.json").write_text(json.dumps({"blob": port}))
        assert choose(tmp_path / "earlier.json", automatic=True)["blob"] != port


def test_where_none_is_left_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emulator.ports._RANGE", range(20000, 20003))
    with pytest.raises(PortTaken, match="no free port"):
        choose(tmp_path / "ports.json", automatic=True)


def test_one_that_is_taken_meanwhile_is_replaced_alone(tmp_path: Path) -> None:
    path = tmp_path / "ports.json"
    first = choose(path, automatic=True)
    with listener(first["blob"]) as taken:
        taken.listen()
        second = choose(path, automatic=True)
    assert second["blob"] != first["blob"]
    assert {name: port for name, port in second.items() if name != "blob"} == {n: p for n, p in first.items() if n != "blob"}


def test_a_fixed_port_that_is_taken_is_named_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with listener(0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setitem(FIXED, "blob", port)
        with pytest.raises(PortTaken, match=rf"{port} \(blob\).*--ports auto"):
            choose(tmp_path / "ports.json", automatic=False)


def test_a_listener_says_that_it_is_tcp() -> None:
    with listener(0) as made:
        # asyncio disables Nagle's algorithm for such sockets only.
        assert made.proto == socket.IPPROTO_TCP
        assert made.getsockname()[0] == "127.0.0.1"
        made.listen()
        with pytest.raises(PortTaken):
            listener(made.getsockname()[1])
