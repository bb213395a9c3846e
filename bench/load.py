"""How often the performance gate's verdict is wrong, by simulation; and what its load generator adds to a latency, measured.

The simulation draws latencies whose true p95 is known and puts them before the gate's own `judge`. `lognormal` draws are
independent; `queue` is one worker that serves one request at a time at 70 % load, so that slow answers come in a row.
The overhead is the generator's median latency over that of a bare keep-alive connection, to a server process on this machine
that answers at once.
"""

from __future__ import annotations

import argparse
import http.client
import math
import random
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

from pilotage.domain.gate_specs import PerformanceGate
from pilotage.gates.performance.judge import judge
from pilotage.gates.performance.load import Load, Measured, Sent, measure, schedule

LIMIT = 150.0
RATIOS = (0.8, 0.95, 1.0, 1.05, 1.25)
SIZES = (200, 1000)
OVERHEAD_GOAL = 10.0
"""Times a bare connection's latency; both are about a millisecond or less, of limits that are tens."""
Z95 = statistics.NormalDist().inv_cdf(0.95)
SIGMA = 0.5
RATE = 20.0
SERVER = '''
import asyncio
async def serve(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\\r\\n\\r\\n")
            await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\\r")[0]))
            writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\n\\r\\n[1.0]")
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
'''
BODY = b'{"input_data": {"columns": ["a"], "index": [0], "data": [[1.0]]}}'

Draw = Callable[[random.Random, int], list[float]]
"""Latencies, in units of their true p95."""


def lognormal(draws: random.Random, n: int) -> list[float]:
    return [math.exp(SIGMA * (draws.gauss(0, 1) - Z95)) for _ in range(n)]


def queue(draws: random.Random, n: int, p95: float = 1.0) -> list[float]:
    """Sojourn times of one worker with lognormal service (70 % busy) under the gate's own arrivals, after a warm-up of 200."""
    arrivals = schedule(n + 200, RATE, draws.getrandbits(32))
    service = 0.7 / RATE
    free, found = 0.0, []
    for at in arrivals:
        free = max(free, at) + service * math.exp(SIGMA * draws.gauss(0, 1) - SIGMA**2 / 2)
        found.append((free - at) / p95)
    return found[200:]


def outcomes(draw: Draw, ratio: float, n: int, repeats: int, seed: int) -> Counter[str]:
    spec = PerformanceGate(samples="azureml:s:1", requests=n, rate_per_second=RATE, p95_ms=LIMIT)
    draws = random.Random(f"{seed} {ratio} {n}")  # noqa: S311 - a repeatable simulation
    counted: Counter[str] = Counter()
    for _ in range(repeats):
        sent = [Sent(number / RATE, number / RATE, number / RATE + latency * ratio * LIMIT / 1000, 200, "status 200", False)
                for number, latency in enumerate(draw(draws, n))]
        counted[judge(spec, Measured(sent, [], None)).outcome.value] += 1
    return counted


def simulate(repeats: int, seed: int) -> None:
    p95 = statistics.quantiles(queue(random.Random(seed), 400_000), n=100)[94]  # noqa: S311
    print(f"verdict on p95, {repeats} simulated runs each, confidence 0.95; true p95 as a multiple of the limit")
    print("| latencies | requests | true p95 | Passed | Failed | Inconclusive | wrong |\n|---|---|---|---|---|---|---|")
    for name, draw in (("lognormal", lognormal), ("queue", partial(queue, p95=p95))):
        for n in SIZES:
            for ratio in RATIOS:
                counted = outcomes(draw, ratio, n, repeats, seed)
                passed, failed, open_ = (counted[name] / repeats for name in ("passed", "failed", "inconclusive"))
                # At the limit itself a model is within it: only Failed is wrong, and Passed is as rare.
                wrong = f"{failed:.1%} false Failed" if ratio <= 1 else f"{passed:.1%} false Passed"
                print(f"| {name} | {n} | {ratio:g} | {passed:.1%} | {failed:.1%} | {open_:.1%} | {wrong} |", flush=True)


def bare(port: int, requests: int) -> float:
    """Median milliseconds of a request over one open connection, one after the other."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    taken = []
    for _ in range(requests):
        began = time.perf_counter()
        connection.request("POST", "/score", BODY, {"Content-Type": "application/json"})
        connection.getresponse().read()
        taken.append(1000 * (time.perf_counter() - began))
        time.sleep(0.01)  # as rarely as the generator at its slowest rate: a busy loop would have a warmer machine
    connection.close()
    return statistics.median(taken)


def overhead(seed: int) -> None:
    """What is over the goal is marked, and nothing fails: machines differ."""
    server = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        base = bare(port, 500)
        print(f"a bare connection: median {base:.2f} ms")
        worst = 0.0
        for rate in (20, 100, 300):
            load = Load(f"http://127.0.0.1:{port}/score", {"Content-Type": "application/json"}, [BODY],
                        schedule(rate * 5, rate, seed), schedule(50, 100, seed + 1))
            sent = measure(load).sent
            found = statistics.median(1000 * one.latency for one in sent)
            late = statistics.quantiles((1000 * one.lag for one in sent), n=100)[98]
            worst = max(worst, found / base)
            print(f"generator at {rate}/s: median {found:.2f} ms = {found / base:.1f} x bare; sent late by {late:.2f} ms at the p99",
                  flush=True)
    finally:
        server.terminate()
        server.wait()
    print(f"ratio: {worst:.1f} (goal: under {OVERHEAD_GOAL:g}){'' if worst < OVERHEAD_GOAL else '  <-- over the goal'}")


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench load", description=__doc__)
    parser.add_argument("--repeats", type=int, default=1000, help="simulated runs of each line")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=("verdict", "overhead"))
    options = parser.parse_args(argv)
    if options.only != "overhead":
        simulate(options.repeats, options.seed)
    if options.only != "verdict":
        overhead(options.seed)
