"""The load generator in virtual time: nothing here waits, and every latency is exact."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage.errors import NotFound, PermissionDenied, Unavailable
from pilotage.gates.performance.load import Load, Measured, Sent, measure, measure_here, refuse, schedule

Serve = Callable[[httpx.Request], Awaitable[httpx.Response]]


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose clock jumps to the next timer instead of waiting for it. `busy` passes time as work of this machine would."""

    def __init__(self) -> None:
        self._now = 1000.0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        return self._now

    def busy(self, seconds: float) -> None:
        self._now += seconds


class _Jumping(selectors.SelectSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "nothing is due and nobody can wake the loop: it would hang"
        self._loop.busy(timeout)
        return []


def now() -> float:
    return asyncio.get_running_loop().time()


def answering(seconds: float, status: int = 200) -> Serve:
    async def serve(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(seconds)
        return httpx.Response(status)
    return serve


def run(load: Load, serve: Serve) -> Measured:
    return measure(load, transport=httpx.MockTransport(serve), loop_factory=VirtualLoop)


def beat(requests: int, rate: float, **more: Any) -> Load:
    """An even load, so that a test can name every time."""
    return Load(url="http://endpoint/score", headers={"Authorization": "Bearer k"}, bodies=[b"a", b"b", b"c"],
                due=[number / rate for number in range(requests)], **more)


def latencies(measured: Measured) -> list[float]:
    return [round(one.latency, 6) for one in measured.sent]


def test_every_request_keeps_its_time_and_bodies_take_turns() -> None:
    seen: list[tuple[float, bytes, str]] = []

    async def serve(request: httpx.Request) -> httpx.Response:
        seen.append((round(now() - 1000, 6), request.content, request.headers["authorization"]))
        await asyncio.sleep(5)
        return httpx.Response(200)

    measured = run(beat(4, rate=2), serve)
    assert seen == [(0.0, b"a", "Bearer k"), (0.5, b"b", "Bearer k"), (1.0, b"c", "Bearer k"), (1.5, b"a", "Bearer k")]
    assert latencies(measured) == [5.0] * 4
    assert [one.lag for one in measured.sent] == pytest.approx([0.0] * 4)


def stalling(at: float, until: float, otherwise: float) -> Serve:
    """A server that answers nothing between two moments of the load."""
    async def serve(_: httpx.Request) -> httpx.Response:
        moment = now() - 1000
        await asyncio.sleep(until - moment + otherwise if at <= moment < until else otherwise)
        return httpx.Response(200)
    return serve


def test_a_stall_is_seen_by_every_request_that_was_due_in_it() -> None:
    """Coordinated omission: a closed loop sends one request into the stall of 2 s, and reports one slow answer of its many."""
    serve = stalling(at=4.0, until=6.0, otherwise=0.01)
    opened = latencies(run(beat(1000, rate=100), serve))

    async def closed_loop() -> list[float]:
        taken = []
        async with httpx.AsyncClient(transport=httpx.MockTransport(serve)) as client:
            for _ in range(1000):
                began = now()
                await client.post("http://endpoint/score", content=b"a")
                taken.append(now() - began)
        return taken

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        closed = runner.run(closed_loop())
    assert sum(value > 0.5 for value in closed) == 1
    assert sorted(closed)[989] == pytest.approx(0.01)  # its p99
    assert sum(value > 0.5 for value in opened) == pytest.approx(150, abs=2)  # those due in the stall's first 1.5 s
    assert sorted(opened)[989] > 1.85
    assert sorted(opened)[499] == pytest.approx(0.01)


def test_waiting_for_a_connection_is_latency_and_is_counted() -> None:
    measured = run(beat(6, rate=1000, concurrency=2), answering(1.0))
    assert latencies(measured) == pytest.approx([1.0, 0.999, 1.998, 1.997, 2.996, 2.995], abs=0.002)
    assert [one.waited for one in measured.sent] == [False, False, True, True, True, True]


def test_no_more_requests_are_on_their_way_than_allowed() -> None:
    there, most = 0, 0

    async def serve(_: httpx.Request) -> httpx.Response:
        nonlocal there, most
        there += 1
        most = max(most, there)
        await asyncio.sleep(0.3)
        there -= 1
        return httpx.Response(200)

    run(beat(50, rate=100, concurrency=7), serve)
    assert (there, most) == (0, 7)


def test_timeouts_end_the_request_and_tell_whether_it_was_ever_sent() -> None:
    measured = run(replace(beat(1, rate=1, concurrency=2, timeout=3.0), due=[0.0] * 4), answering(60))
    assert [(one.kind, one.status) for one in measured.sent] == [("Timeout", None)] * 2 + [("NoFreeConnection", None)] * 2
    assert latencies(measured) == pytest.approx([3.0] * 4)
    assert all(one.timed_out and not one.answered and not one.platform for one in measured.sent)


def raising(error: Exception) -> Serve:
    async def serve(_: httpx.Request) -> httpx.Response:
        raise error
    return serve


@pytest.mark.parametrize(("serve", "kind", "answered", "platform"), [
    (answering(0), "status 200", True, False),
    (answering(0, 424), "status 424", False, False),
    (answering(0, 408), "status 408", False, False),
    (answering(0, 400), "status 400", False, False),
    (answering(0, 302), "status 302", False, False),
    (answering(0, 429), "status 429", False, True),
    (answering(0, 503), "status 503", False, True),
    (raising(httpx.ReadError("reset")), "ReadError", False, False),
    (raising(httpx.RemoteProtocolError("disconnected")), "RemoteProtocolError", False, False),
])
def test_kinds(serve: Serve, kind: str, answered: bool, platform: bool) -> None:
    [one] = run(beat(1, rate=1), serve).sent
    assert (one.kind, one.answered, one.platform) == (kind, answered, platform)


def test_one_failed_request_cancels_no_other() -> None:
    calls = iter(range(100))

    async def serve(_: httpx.Request) -> httpx.Response:
        if next(calls) == 1:
            raise httpx.ConnectError("refused")
        return httpx.Response(200)

    assert [one.kind for one in run(beat(3, rate=10), serve).sent] == ["status 200", "ConnectError", "status 200"]


@pytest.mark.parametrize(("serve", "error", "text"), [
    (raising(httpx.ConnectError("refused")), Unavailable, "none of 1 requests of the load reached the endpoint: ConnectError"),
    (answering(0, 401), PermissionDenied, "key or token"),
    (answering(0, 403), PermissionDenied, "key or token"),
    (answering(0, 404), NotFound, "404"),
])
def test_what_says_nothing_of_the_model_is_raised_after_one_request(serve: Serve, error: type[Exception], text: str) -> None:
    asked = 0

    async def counted(request: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        return await serve(request)

    with pytest.raises(error, match=text):
        run(beat(500, rate=100, warmup_due=[0.0, 0.1, 0.2]), counted)
    assert asked == 1


def test_a_key_that_expires_in_the_middle_is_raised_too() -> None:
    def one(kind: str) -> Sent:
        return Sent(0, 0, 1, None, kind, False)

    with pytest.raises(PermissionDenied):
        refuse([one("status 200"), one("status 401")])
    refuse([one("status 200"), one("ConnectError")])


def test_warmup_is_apart_and_the_first_goes_alone() -> None:
    seen: list[float] = []

    async def serve(_: httpx.Request) -> httpx.Response:
        seen.append(round(now() - 1000, 6))
        await asyncio.sleep(4.0 if len(seen) == 1 else 0.25)
        return httpx.Response(200)

    measured = run(beat(2, rate=1, warmup_due=[0.7, 1.0, 2.0]), serve)
    assert seen == [0.0, 5.0, 6.0, 6.25, 7.25]
    assert len(measured.warmup) == 3
    assert len(measured.sent) == 2
    assert measured.first_answer == pytest.approx(4.0)
    assert latencies(measured) == pytest.approx([0.25, 0.25])


@pytest.mark.parametrize(("bad", "warmup", "expected"), [
    (0, [], 0.5), (0, [0.0, 1.0], 0.5),
    (1, [0.0, 1.0], 0.5 + 1.0 + 0.5), (2, [0.0, 1.0], 0.5 + 1.5 + 0.5), (3, [0.0, 1.0], 0.5 + 1.5 + 0.1 + 0.5), (99, [0.0], None),
])
def test_the_first_answer_is_the_first_good_one_since_the_first_request(bad: int, warmup: list[float], expected: float | None) -> None:
    asked = iter(range(1000))

    async def serve(_: httpx.Request) -> httpx.Response:
        status = 200 if next(asked) >= bad else 503
        await asyncio.sleep(0.5)
        return httpx.Response(status)

    measured = run(beat(5, rate=10, warmup_due=warmup), serve)
    assert measured.first_answer == (None if expected is None else pytest.approx(expected))


def test_a_slow_machine_shows_as_lag_and_in_the_latency() -> None:
    async def serve(_: httpx.Request) -> httpx.Response:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.busy(0.02)  # ten times what the rate leaves for one request
        return httpx.Response(200)

    measured = run(beat(100, rate=500), serve)
    assert max(one.lag for one in measured.sent) > 1.5
    assert max(latencies(measured)) > 1.5


def test_cancelled_it_leaves_no_task() -> None:
    cancelled = 0

    async def serve(_: httpx.Request) -> httpx.Response:
        nonlocal cancelled
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled += 1
            raise
        return httpx.Response(200)

    async def cancel() -> int:
        task = asyncio.ensure_future(measure_here(beat(100, rate=10), httpx.MockTransport(serve)))
        await asyncio.sleep(0.95)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return len(asyncio.all_tasks())

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert runner.run(cancel()) == 1  # the one that asks
    assert cancelled == 10


async def test_it_refuses_a_thread_that_runs_a_loop() -> None:
    with pytest.raises(RuntimeError, match="to_thread"):
        measure(beat(1, rate=1))


@given(st.integers(1, 300), st.floats(0.1, 2000), st.integers())
def test_the_schedule_is_the_same_twice_rises_and_has_the_rate(requests: int, rate: float, seed: int) -> None:
    due = schedule(requests, rate, seed)
    assert due == schedule(requests, rate, seed) == sorted(due)
    assert len(due) == requests
    assert 0 <= due[0] <= due[-1] <= requests / rate


def test_arrivals_come_in_bursts_as_those_of_independent_callers_do() -> None:
    due = schedule(20_000, 20, seed=7)
    gaps = sorted(later - earlier for earlier, later in pairwise(due))
    assert due != schedule(20_000, 20, seed=8)
    # Exponential gaps: the median is ln 2 of the mean, and 1 - 1/e of them are shorter than it.
    assert gaps[len(gaps) // 2] == pytest.approx(0.6931 / 20, rel=0.05)
    assert sum(gap < 1 / 20 for gap in gaps) / len(gaps) == pytest.approx(0.632, abs=0.02)


@pytest.mark.parametrize("more", [{"bodies": []}, {"due": []}, {"due": [1.0, 0.5]}])
def test_a_load_that_makes_no_sense_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a load"):
        Load(**{"url": "http://endpoint", "headers": {}, "bodies": [b"a"], "due": [0.0]} | more)


def test_the_key_is_in_no_repr() -> None:
    assert "Bearer" not in repr(beat(1, rate=1))
