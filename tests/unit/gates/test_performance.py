"""The verdict on a load: in virtual time against servers that are functions, and by hand-made requests."""

from __future__ import annotations

import asyncio
import json
import math
import random
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from pilotage.domain.figures import Histogram, Lines
from pilotage.domain.gate_specs import PerformanceGate
from pilotage.domain.gates import GateOutcome, GateResult
from pilotage.errors import InvalidInput, Unavailable
from pilotage.gates.performance import Performance
from pilotage.gates.performance.judge import Verdict, judge, throughput
from pilotage.gates.performance.load import Measured, Sent
from pilotage.gates.performance.statistics import dependence, percentile, ranks, rate, requests_to_settle
from pilotage.ports import ScoringAddress
from tests.support.trial import FakeTrial
from tests.unit.gates.test_load import Serve, VirtualLoop, answering, now, raising, stalling

PASSED, FAILED, INCONCLUSIVE = GateOutcome.PASSED, GateOutcome.FAILED, GateOutcome.INCONCLUSIVE
SAMPLES = b"".join(json.dumps({"input_data": {"columns": ["a"], "index": [0], "data": [[n]]}}).encode() + b"\n" for n in range(3))
NAME = "azureml:air-time-requests@latest"


def gate(**fields: Any) -> PerformanceGate:
    return PerformanceGate(**({"samples": NAME, "p95_ms": 150} | fields))


def trial(url: str = "http://endpoint/score", samples: bytes = SAMPLES) -> FakeTrial:
    return FakeTrial(assets={NAME: [("requests.jsonl", samples)]},
                     scoring=ScoringAddress(url=url, headers={"Authorization": "Bearer secret-key"}))


def run(serve: Serve, **fields: Any) -> GateResult:
    return Performance(httpx.MockTransport(serve), VirtualLoop).begin(trial(), gate(**fields))


def lognormal(median_ms: float, sigma: float = 0.3) -> Serve:
    draws = random.Random(11)

    async def serve(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(median_ms / 1000 * math.exp(sigma * draws.gauss(0, 1)))
        return httpx.Response(200)
    return serve


def pausing(every: float, seconds: float) -> Serve:
    """Nothing is answered in the last `seconds` of each period."""
    async def serve(_: httpx.Request) -> httpx.Response:
        into = (now() - 1000) % every
        await asyncio.sleep(0.01 + (every - into if into >= every - seconds else 0))
        return httpx.Response(200)
    return serve


def now_and_then(every: int, bad: Serve, good: Serve) -> Serve:
    asked = iter(range(1, 10**6))

    async def serve(request: httpx.Request) -> httpx.Response:
        return await (bad if next(asked) % every == 0 else good)(request)
    return serve


def test_a_good_model_passes_and_shows_what_was_measured() -> None:
    result = run(lognormal(60), p50_ms=100, first_answer_ms=1000, min_throughput_per_second=19, instance_cost_per_hour=3.6)
    assert result.outcome is PASSED
    assert result.message.startswith("no request failed; p50 ")
    assert "is within the limit of 150 ms" in result.message
    assert "(200 requests at 20 a second)" in result.message
    evidence = result.evidence
    assert (evidence["requests"], evidence["answered"], evidence["kinds"], evidence["warmup"]) == (
        200, 200, {"status 200": 200}, {"status 200": 20})
    p95 = evidence["latency_ms"]["p95"]
    assert p95["low"] < p95["value"] < p95["high"] <= 150
    assert p95["max"] == 150
    assert evidence["latency_ms"]["p99"]["high"] is None  # 200 requests bound no p99
    assert evidence["throughput_per_second"]["value"] == pytest.approx(20, rel=0.02)
    assert evidence["cost_estimate"]["per_1000_requests"] == pytest.approx(0.05, rel=0.02)
    assert (evidence["sample_requests"], evidence["seed"]) == (3, trial().seed)
    assert result.inputs == {"samples": trial().data(NAME).digest.value}
    assert (result.gate, result.version, result.severity) == ("performance", "1", "block")
    assert len(json.dumps(evidence)) < 6000
    assert "secret-key" not in result.model_dump_json()


def test_it_measures_alike_twice() -> None:
    assert run(lognormal(60)) == run(lognormal(60))


FAULTS: list[tuple[str, Serve, dict[str, Any], GateOutcome, str]] = [
    ("slow", lognormal(200), {}, FAILED, "p95 3"),
    ("barely decided", lognormal(92), {}, INCONCLUSIVE, "does not decide about the limit of 150 ms"),
    ("p99 of too few", lognormal(20), {"p99_ms": 100}, INCONCLUSIVE, "about 3"),
    ("one stall", stalling(at=7.0, until=9.0, otherwise=0.01), {"warmup_requests": 0}, INCONCLUSIVE, "answers that were slow in a row"),
    ("stalls every 4 s", pausing(every=4.0, seconds=1.0), {"warmup_requests": 0, "requests": 2000}, FAILED, "p95 8"),
    ("stalls every 4 s, p50 alone", pausing(every=4.0, seconds=1.0),
     {"warmup_requests": 0, "requests": 2000, "p95_ms": None, "p50_ms": 50}, PASSED, "p50"),
    ("flaky", now_and_then(50, answering(0, 424), answering(0.01)), {}, FAILED, "4 of 200 requests failed (4 x status 424;"),
    ("flaky, allowed", now_and_then(50, answering(0, 424), answering(0.01)), {"max_error_rate": 0.2}, PASSED, "within the 20%"),
    ("flaky, undecided", now_and_then(50, answering(0, 424), answering(0.01)), {"max_error_rate": 0.015}, INCONCLUSIVE,
     "does not decide about the limit of 1.5%"),
    ("drops connections", now_and_then(50, raising(httpx.ReadError("reset")), answering(0.01)), {}, FAILED, "4 x ReadError"),
    ("hangs", now_and_then(50, answering(10_000), answering(0.01)), {}, FAILED, "4 x Timeout"),
    ("throttled", now_and_then(5, answering(0, 429), answering(0.01)), {}, INCONCLUSIVE, "40 of 200 requests were turned away"),
    ("throttled once", now_and_then(150, answering(0, 429), answering(0.01)), {}, INCONCLUSIVE, "run the gate again"),
    ("throttled once, allowed", now_and_then(150, answering(0, 429), answering(0.01)), {"max_error_rate": 0.05}, PASSED, "within the 5%"),
    ("unavailable", answering(0.01, 503), {}, INCONCLUSIVE, "200 of 200 requests were turned away or lost on the way (200 x status 503)"),
    ("throttled and slow", now_and_then(5, answering(0, 429), answering(1.0)), {}, INCONCLUSIVE, "which may be Azure's doing"),
    ("throttled and broken", now_and_then(5, answering(0, 429), answering(0.01, 424)), {}, FAILED, "160 of 160 requests failed"),
    ("broken", answering(0.01, 424), {}, FAILED, "200 of 200 requests failed"),
    ("cold", now_and_then(10**6, answering(0), answering(0.5)), {"first_answer_ms": 400, "p95_ms": 1000}, FAILED,
     "the first answer came after 500 ms, over the limit of 400 ms"),
    ("one at a time", answering(0.09), {"concurrency": 1, "rate_per_second": 20, "p95_ms": 29_000, "min_throughput_per_second": 15}, FAILED,
     "11.2 good answers a second are under the limit of 15"),
    ("connections are short", answering(0.09), {"concurrency": 1}, FAILED, "requests waited for one of 1 connections"),
]


@pytest.mark.parametrize(("serve", "fields", "outcome", "text"), [fault[1:] for fault in FAULTS], ids=[fault[0] for fault in FAULTS])
def test_faults(serve: Serve, fields: dict[str, Any], outcome: GateOutcome, text: str) -> None:
    result = run(serve, **fields)
    assert result.outcome is outcome, result.message
    assert text in result.message
    assert len(json.dumps(result.evidence)) < 6000


def test_the_worst_finding_comes_first() -> None:
    result = run(now_and_then(50, answering(0, 424), lognormal(200)), first_answer_ms=10_000, p99_ms=500)
    first, second, third = result.message.split("; p")
    assert first.startswith("4 of 200 requests failed")
    assert second.startswith("95 ")
    assert third.startswith("99 ")
    assert "first answer" not in result.message


def test_nothing_listens() -> None:
    with pytest.raises(Unavailable, match="ConnectError"):
        run(raising(httpx.ConnectError("refused")))


def test_a_machine_that_is_too_slow_judges_no_model() -> None:
    async def serve(_: httpx.Request) -> httpx.Response:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.busy(0.02)
        return httpx.Response(200)

    result = run(serve, rate_per_second=500)
    assert result.outcome is INCONCLUSIVE
    assert result.message.startswith("this machine could not send fast enough, so the model was not measured")
    assert result.evidence["sent_late_ms"]["p99"] > 1000


def test_no_sample_requests() -> None:
    with pytest.raises(InvalidInput, match="has no sample requests"):
        Performance().begin(trial(samples=b""), gate())


def test_figures_hold_every_answer_and_mark_the_limits() -> None:
    histogram, lines = run(now_and_then(20, answering(10_000), lognormal(60)), request_timeout_ms=2000).figures
    assert isinstance(histogram, Histogram)
    assert {name: sum(counts) for name, counts in histogram.series.items()} == {"answered": 190, "timed out": 10}
    assert histogram.edges == sorted(set(histogram.edges))
    assert len(histogram.edges) == len(histogram.series["answered"]) + 1
    assert set(histogram.marks) == {"limit of p95", "p50", "p95", "p99"}
    assert all(histogram.edges[0] <= value <= histogram.edges[-1] for value in histogram.marks.values())
    assert isinstance(lines, Lines)
    assert [line.label for line in lines.lines] == ["p50", "p95"]
    assert lines.marks == {"limit of p95": 150}
    assert all(low[1] <= high[1] for low, high in zip(lines.lines[0].points, lines.lines[1].points, strict=True))


def test_a_stall_is_where_it_was_in_the_figure() -> None:
    _, lines = run(stalling(at=7.0, until=9.0, otherwise=0.01), warmup_requests=0).figures
    assert isinstance(lines, Lines)
    slow = [second for second, value in lines.lines[1].points if value > 500]
    assert slow
    assert all(6.5 < second < 9.0 for second in slow)


def test_without_an_answer_there_is_no_figure() -> None:
    assert run(answering(0.01, 503)).figures == []


def sent(latencies: Sequence[float], per_second: float = 20, kind: str = "status 200") -> list[Sent]:
    status = int(kind.removeprefix("status ")) if kind.startswith("status") else None
    return [Sent(number / per_second, number / per_second, number / per_second + latency / 1000, status, kind, False)
            for number, latency in enumerate(latencies)]


def verdict(latencies: Sequence[float], lost: int = 0, **fields: Any) -> Verdict:
    """Spread by the golden ratio, so that no slow answers are neighbours: what comes in a row is another matter."""
    places = sorted(range(len(latencies)), key=lambda number: number * 0.6180339887 % 1)
    every = sent([latencies[place] for place in places]) + sent([1.0] * lost, kind="status 503")
    return judge(gate(requests=max(20, len(every)), **fields), Measured(every, [], 0.1))


def test_what_azure_lost_is_taken_as_the_worst_for_either_side() -> None:
    """With an allowed share of errors, the requests that got no answer must not make the others look better, or worse."""
    clear = [100.0] * 380 + [200.0] * 10
    assert verdict(clear, max_error_rate=0.2).outcome is PASSED
    assert verdict(clear, lost=10, max_error_rate=0.2).outcome is INCONCLUSIVE
    over = [100.0] * 350 + [200.0] * 40
    assert verdict(over, max_error_rate=0.2).outcome is FAILED
    barely = [100.0] * 361 + [200.0] * 29
    assert verdict(barely, max_error_rate=0.2).outcome is FAILED
    assert verdict(barely, lost=10, max_error_rate=0.2).outcome is INCONCLUSIVE


@pytest.mark.parametrize(("slow", "outcome"), [(0, PASSED), (3, PASSED), (4, INCONCLUSIVE), (16, INCONCLUSIVE), (17, FAILED)])
def test_a_p95_of_200_is_decided_by_how_many_were_slower(slow: int, outcome: GateOutcome) -> None:
    """The ranks are 184 and 197: with four over the limit the 197th is over it, and with 17 the 184th is too."""
    assert ranks(200, 0.95, 0.95) == (184, 197)
    assert verdict([100.0] * (200 - slow) + [200.0] * slow).outcome is outcome


@pytest.mark.parametrize("share", [0.5, 0.95, 0.99])
@pytest.mark.parametrize("n", [20, 72, 200, 1000])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_ranks_are_the_narrowest_that_keep_their_confidence(n: int, share: float, confidence: float) -> None:
    def at_most(k: int) -> float:
        return math.fsum(math.comb(n, i) * share**i * (1 - share) ** (n - i) for i in range(k + 1))

    low, high = ranks(n, share, confidence)
    tail = (1 - confidence) / 2 + 1e-12
    assert at_most(low - 1) <= tail < at_most(low)
    assert 1 - at_most(high - 1) <= tail < 1 - at_most(high - 2)


def test_percentiles() -> None:
    values = [float(number) for number in range(1, 201)]
    found = percentile(values, 0.95, 0.95)
    assert (found.low, found.value, found.high) == (184.0, 190.0, 197.0)
    assert percentile(values, 0.99, 0.95).high == math.inf
    assert percentile([], 0.5, 0.95).high == math.inf
    assert percentile(values[:20], 0.5, 0.95, unknown=20).low == 0.0


def test_dependence() -> None:
    draws = random.Random(2)
    independent = [draws.lognormvariate(0, 1) for _ in range(2000)]
    assert dependence(independent) == pytest.approx(1.0, abs=0.2)
    assert dependence([value for value in independent for _ in range(8)]) == pytest.approx(8, rel=0.25)
    assert dependence([5.0] * 100) == dependence([5.0]) == dependence([]) == 1.0


def test_dependent_values_widen_the_interval_as_fewer_values_would() -> None:
    values = [float(number) for number in range(1, 1001)]
    alone, rows = percentile(values, 0.95, 0.95), percentile(values, 0.95, 0.95, times=5)
    low, high = ranks(200, 0.95, 0.95)
    assert (rows.low, rows.high) == (5.0 * low, 5.0 * high)
    assert rows.low < alone.low < alone.value == rows.value < alone.high < rows.high
    assert percentile(values, 0.95, 0.95, times=20).high == math.inf


def test_small_waves_far_under_the_limit_do_not_matter() -> None:
    """A machine's slow drift from 10 to 14 ms comes in a row, and is nothing to a limit of 150 ms."""
    drifting = [12 + 2 * math.sin(number / 15) for number in range(200)]
    assert dependence(drifting) > 5
    assert judge(gate(), Measured(sent(drifting), [], 0.1)).outcome is PASSED


@pytest.mark.parametrize(("events", "of", "low", "high"), [
    (0, 200, 0.0, 0.018275), (4, 200, 0.005475, 0.050414), (200, 200, 0.981725, 1.0),
])
def test_rates_have_the_exact_interval(events: int, of: int, low: float, high: float) -> None:
    from scipy.stats import binomtest

    found = rate(events, of, 0.95)
    exact = binomtest(events, of).proportion_ci(0.95, method="exact")
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))
    assert (found.low, found.high) == pytest.approx((low, high), abs=2e-6)


def test_a_stricter_limit_never_passes_where_a_looser_one_does_not() -> None:
    order = {PASSED: 0, INCONCLUSIVE: 1, FAILED: 2}
    for errors in (0, 1, 4, 20):
        every = sent([10.0] * (200 - errors)) + sent([10.0] * errors, kind="status 424")
        outcomes = [order[judge(gate(max_error_rate=limit), Measured(every, [], 0.1)).outcome] for limit in (0, 0.005, 0.02, 0.05, 0.2, 1)]
        assert outcomes == sorted(outcomes, reverse=True)


@pytest.mark.parametrize(("seen", "limit", "fewest", "most"), [
    (1.0, 0.99, 368, 450), (0.96, 0.95, 2_000, 6_000), (0.90, 0.95, 250, 300), (0.9505, 0.95, None, None), (0.95, 0.95, None, None),
])
def test_requests_to_settle(seen: float, limit: float, fewest: int | None, most: int | None) -> None:
    needed = requests_to_settle(200, seen, limit, 0.95)
    if fewest is None or most is None:
        assert needed is None
    else:
        assert needed is not None
        assert fewest <= needed <= most


def test_the_named_number_of_requests_does_settle_it_mostly() -> None:
    needed = requests_to_settle(200, 0.97, 0.95, 0.95)
    assert needed is not None
    draws = random.Random(5)
    settled = 0
    for _ in range(200):
        slow = sum(draws.random() < 0.03 for _ in range(needed))
        settled += percentile([100.0] * (needed - slow) + [200.0] * slow, 0.95, 0.95).high <= 150
    assert settled >= 140  # of 200; 160 are meant


def test_throughput_is_the_offered_rate_when_the_model_keeps_up_and_its_own_when_not() -> None:
    kept = sent([50.0] * 199 + [3000.0])
    assert throughput(gate(), kept) == pytest.approx(20, rel=0.01)  # one straggler does not stretch the window
    behind = [Sent(n / 20, n / 20, (n + 1) / 8, 200, "status 200", False) for n in range(200)]
    assert throughput(gate(), behind) == pytest.approx(8, rel=0.02)
    assert throughput(gate(), sent([50.0] * 200, kind="status 424")) == 0


def test_a_throughput_near_its_limit_decides_nothing() -> None:
    behind = [Sent(n / 20, n / 20, (n + 1) / 9.8, 200, "status 200", False) for n in range(200)]
    judged = judge(gate(p95_ms=29_000, min_throughput_per_second=10), Measured(behind, [], 0.1))
    assert (judged.outcome, "too near to the limit of 10" in judged.message) == (INCONCLUSIVE, True)


@pytest.mark.parametrize(("fields", "text"), [
    ({"p95_ms": None}, "needs p50_ms, p95_ms or p99_ms"),
    ({"p95_ms": 30_000}, "request_timeout_ms 30000 must be over every limit"),
    ({"min_throughput_per_second": 21}, "raise rate_per_second"),
    ({"requests": 100_000}, "over the gate's timeout of 1800 s"),
])
def test_specs_that_can_not_be_measured(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        gate(**fields)


def test_over_a_real_server() -> None:
    """The default loop, clock and network; only counts are asserted."""
    lock = threading.Lock()
    bodies: list[bytes] = []

    class Scores(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with lock:
                bodies.append(body)
                status = 424 if len(bodies) % 10 == 0 else 200
            self.send_response(status)
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"[1.0]")

        def log_message(self, format: str, *args: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Scores)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        port = server.server_address[1]
        result = Performance().begin(trial(f"http://127.0.0.1:{port}/score"), gate(
            requests=60, rate_per_second=300, warmup_requests=10, p95_ms=25_000, concurrency=8))
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert result.outcome is FAILED
    assert result.evidence["kinds"] == {"status 200": 54, "status 424": 6}
    assert result.evidence["warmup"] == {"status 200": 9, "status 424": 1}
    assert len(bodies) == 70
    assert {json.loads(body)["input_data"]["data"][0][0] for body in bodies} == {0, 1, 2}


def test_time_is_virtual_in_these_tests() -> None:
    async def moment() -> float:
        before = now()
        await asyncio.sleep(3600)
        return now() - before

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert runner.run(moment()) == 3600
