"""An open-loop load generator: every request has its time before anything is sent, and keeps it whatever the others do.

A generator that waits for an answer before it sends on (a closed loop) is slowed down together with the server, and never
sends the requests that would have met the stall ("coordinated omission", Gil Tene). Here latency counts from the time a
request was meant to be sent, so that a wait for a connection, or for this machine, is part of it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from pilotage.errors import NotFound, PermissionDenied, Unavailable

if TYPE_CHECKING:
    import httpx

TIMED_OUT = "Timeout"
NO_CONNECTION = "NoFreeConnection"
"""Timed out while all connections were busy: the server was asked, by others, and did not get to this one."""
UNREACHED = frozenset({"ConnectError", "ConnectTimeout", "ProxyError", "UnsupportedProtocol"})
"""Failures before a request was on its way: an endpoint's address is Azure's, so they say nothing of the model."""


@dataclass(frozen=True)
class Load:
    """What is sent, and when. Times are seconds from the start; `timeout` counts from the intended time too."""

    url: str
    headers: dict[str, str] = field(repr=False)
    bodies: Sequence[bytes]
    due: Sequence[float]
    """Intended time of each measured request, rising."""
    warmup_due: Sequence[float] = ()
    """The same for requests that are not counted. The first goes at once and alone; the others' times start when it has ended."""
    concurrency: int = 64
    timeout: float = 30.0

    def __post_init__(self) -> None:
        if not self.bodies or not self.due:
            raise ValueError("a load needs a body and a time to send it at")
        if any(later < earlier for earlier, later in pairwise(self.due)):
            raise ValueError("the intended times of a load must rise")


@dataclass(frozen=True)
class Sent:
    """One request. `due`, `started` and `ended` are seconds from the start of its part of the load."""

    due: float
    started: float
    """When the generator came to it: later than `due` only by its own fault."""
    ended: float
    status: int | None
    """None: no answer; `kind` then says why."""
    kind: str
    """`status 424`, or the name of the error."""
    waited: bool
    """All connections were busy when its time came."""

    @property
    def latency(self) -> float:
        """Seconds from the intended time to the last byte of the answer."""
        return self.ended - self.due

    @property
    def lag(self) -> float:
        """Seconds the generator was late."""
        return self.started - self.due

    @property
    def answered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def platform(self) -> bool:
        """Refused or lost on the way, which may be Azure's doing: throttled, 5xx, or never connected."""
        return self.kind in UNREACHED or (self.status is not None and (self.status == 429 or self.status >= 500))

    @property
    def timed_out(self) -> bool:
        return self.kind in (TIMED_OUT, NO_CONNECTION)


@dataclass(frozen=True)
class Measured:
    """What came of a load, in the order of the intended times."""

    sent: Sequence[Sent]
    warmup: Sequence[Sent]
    first_answer: float | None
    """Seconds from the very first request to the first good answer; None: there was none."""


def schedule(requests: int, rate: float, seed: int) -> list[float]:
    """Arrivals of a Poisson process in `requests / rate` seconds, given that just so many come: seconds from the start, rising.

    Poisson because that is how independent callers come: in bursts, which an even beat would spare the server. Their number
    is fixed (such arrivals are sorted uniform draws), so that the rate is exactly what the policy asks.
    """
    drawn = random.Random(seed)  # noqa: S311 - a repeatable load, no secret
    return sorted(drawn.uniform(0, requests / rate) for _ in range(requests))


def measure(load: Load, *, transport: httpx.AsyncBaseTransport | None = None,
            loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None) -> Measured:
    """Send the load from a loop of its own, on the calling thread. Ends at most `timeout` after the last intended time.

    Time is the loop's: `loop_factory` may bring another clock, and `transport` another network. Raises Unavailable when no
    request reached the endpoint, PermissionDenied (401, 403), NotFound (404), and RuntimeError in a thread that runs a loop.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            return runner.run(measure_here(load, transport))
    raise RuntimeError("the load generator needs a thread without a running event loop: call it by asyncio.to_thread")


async def measure_here(load: Load, transport: httpx.AsyncBaseTransport | None = None) -> Measured:
    """The same in the running loop, which should have nothing else to do. Cancelled, it leaves no request on its way."""
    import httpx

    # The semaphore is the cap: it counts who waits, and a cancelled request always gives its place back.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=load.concurrency)
    async with httpx.AsyncClient(transport=transport, limits=limits, timeout=None, headers=load.headers) as client:  # noqa: S113
        sender = _Sender(load, client)
        first: list[Sent] = []
        warmup: list[Sent] = []
        if load.warmup_due:
            # Alone: what waits behind a container's first answer would tell of the wait, not of the container.
            first = await sender.send([0.0])
            refuse(first)
            warmup = await sender.send(load.warmup_due[1:], skip=1)
        sent = await sender.send(load.due)
        refuse(sent)
        return Measured(sent, [*first, *warmup], _first_answer(first, warmup, sent))


def _first_answer(*parts: Sequence[Sent]) -> float | None:
    """Each part starts when the one before has ended."""
    offset, began = 0.0, None
    for part in filter(None, parts):
        began = part[0].due if began is None else began
        good = [one.ended for one in part if one.answered]
        if good:
            return offset + min(good) - began
        offset += max(one.ended for one in part)
    return None


def refuse(sent: Sequence[Sent]) -> None:
    """Raise what is nobody's measurement: an address or a key that is wrong, an endpoint that nothing reaches."""
    kinds = {one.kind for one in sent}
    if {"status 401", "status 403"} & kinds:
        raise PermissionDenied("the endpoint refused the key or token of the load (401, 403): it was regenerated, or has expired")
    if "status 404" in kinds:
        raise NotFound("the endpoint answered the load with 404: the deployment, or the scoring path, is not there")
    if kinds and kinds <= UNREACHED:
        raise Unavailable(f"none of {len(sent)} requests of the load reached the endpoint: {', '.join(sorted(kinds))}")


class _Sender:
    """Sends parts of a load over one client. All times are the running loop's."""

    def __init__(self, load: Load, client: httpx.AsyncClient) -> None:
        self._load = load
        self._client = client
        self._places = asyncio.Semaphore(load.concurrency)
        self._clock = asyncio.get_running_loop().time

    async def send(self, due: Sequence[float], skip: int = 0) -> list[Sent]:
        """Every request at its time; returns when all have ended. Cancelled, it cancels all that are on their way."""
        start = self._clock()
        async with asyncio.TaskGroup() as group:
            tasks = []
            for number, at in enumerate(due, start=skip):
                ahead = start + at - self._clock()
                if ahead > 0:
                    await asyncio.sleep(ahead)
                tasks.append(group.create_task(self._one(start, at, self._load.bodies[number % len(self._load.bodies)])))
        return [task.result() for task in tasks]

    async def _one(self, start: float, due: float, body: bytes) -> Sent:
        import httpx

        started = self._clock()
        waited = self._places.locked()
        placed = False
        status: int | None = None
        try:
            async with asyncio.timeout_at(start + due + self._load.timeout), self._places:
                placed = True
                response = await self._client.post(self._load.url, content=body)
            status, kind = response.status_code, f"status {response.status_code}"
        except TimeoutError:
            kind = TIMED_OUT if placed else NO_CONNECTION
        except httpx.TransportError as error:
            kind = type(error).__name__
        return Sent(due, started - start, self._clock() - start, status, kind, waited)
