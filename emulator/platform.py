"""The local platform as one process: it starts the services and their children, and ends them."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.types import ASGIApp

from emulator import azurite, certificates, environment, ports
from emulator.azure_ml import AzureMl
from emulator.clock import VirtualClock
from emulator.config import PlatformConfig
from emulator.context import Context, EmulatorError
from emulator.control import Control
from emulator.event_grid import EventGrid
from emulator.faults import FaultMiddleware, Faults
from emulator.identity import Identity
from emulator.journal import Journal
from emulator.processes import Processes
from emulator.proxy import ConnectProxy
from emulator.storage import AzuriteStorage

START_WITHIN = 60.0
"""Seconds for a child to answer."""
LOOK_EVERY = 0.05


class ChildDied(EmulatorError):
    """A child process of the platform ended by itself; its log's end follows."""


class Platform:
    """Everything that `emulator up` runs, on one state folder."""

    def __init__(self, config: PlatformConfig, state: Path, *, automatic_ports: bool, functions: bool, app: Path,
                 say: Callable[[str], None]) -> None:
        state.mkdir(parents=True, exist_ok=True)
        self._config, self._state = config, state.resolve()
        self._with_functions, self._app, self._say = functions, app.resolve(), say
        self._processes = Processes(self._state / "processes.json")
        self._ports = ports.choose(self._state / "ports.json", automatic_ports)
        self._certificates = certificates.ensure(self._state / "certs")
        self._keys = _keys(self._state)
        self.addresses = environment.Addresses(
            f"https://localhost:{self._ports['platform']}", f"http://127.0.0.1:{self._ports['functions']}",
            f"http://127.0.0.1:{self._ports['proxy']}")
        self._ending = asyncio.Event()
        self._functions_up = False

        clock = VirtualClock(self._state / "clock.json")
        faults, journal = Faults(), Journal()
        storage = AzuriteStorage(self._ports["blob"], self._certificates.bundle)
        self._identity = Identity(config, self._state / "identity", self.addresses.base_url)
        self._event_grid = EventGrid(config, self._state, clock, self._identity, storage, self._function_url)
        self._azure_ml = AzureMl(Context(self._state, self.addresses.base_url, config, clock, self._identity, self._event_grid, storage,
                                         self.environment))
        self._control = Control(clock, faults, journal, self._tell_functions)
        self._proxy = ConnectProxy(self._ports["proxy"], self._ports)
        self._services = (self._identity, self._event_grid, self._azure_ml)
        # Azure ML comes last: its ARM route takes every path that is left.
        routes = [*self._control.routes(), *(route for service in self._services for route in service.routes())]
        self._asgi: ASGIApp = FaultMiddleware(Starlette(routes=routes), faults, journal)

    def environment(self) -> dict[str, str]:
        """The variables of `DIR/env`."""
        config, grid = self._config, self._event_grid
        variables = environment.platform_variables(config, self.addresses, self._certificates, self._identity.header)
        variables |= config.settings({
            "base_url": self.addresses.base_url, "functions_url": self.addresses.functions_url, "tenant": config.tenant,
            "state": str(self._state), "link_key": self._keys["link_key"]})
        variables |= {
            "FUNCTIONS_URL": self.addresses.functions_url,
            "EVENTGRID_WEBHOOK_URL": self._webhook(config.subscriptions[0].function or "") if config.subscriptions else "",
            "PILOTAGE_TOKEN": self._identity.user_token(config.identity("admin")),
        }
        if config.topics:
            topic = config.topics[0].name
            variables |= {"EVENTGRID_TOPIC_ENDPOINT": f"{self.addresses.base_url}/topics/{topic}/api/events",
                          "EVENTGRID_TOPIC_KEY": grid.topic_key(topic)}
        return variables

    async def run(self) -> None:
        """Start, say `ready`, and stay until SIGTERM or SIGINT; raises ChildDied."""
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self._ending.set)
        server = uvicorn.Server(uvicorn.Config(
            self._asgi, log_level="warning", access_log=False, lifespan="off", timeout_keep_alive=75,
            ssl_certfile=str(self._certificates.chain), ssl_keyfile=str(self._certificates.key)))
        listener = ports.listener(self._ports["platform"])
        serving: asyncio.Task[None] | None = None
        try:
            self._start_azurite()
            await self._proxy.start()
            serving = loop.create_task(server._serve(sockets=[listener]))
            await self._answers("platform", f"{self.addresses.base_url}/_emulator/health")
            self._say(f"platform: Azure ML, Event Grid and identity on {self.addresses.base_url}")
            if self._with_functions:
                self._start_functions()
            await self._answers("azurite", f"https://localhost:{self._ports['blob']}/")
            await self._answers("azurite", f"https://localhost:{self._ports['table']}/")
            self._say(f"storage: Azurite behind the proxy {self.addresses.proxy_url}")
            for service in self._services:
                await service.start()
            if self._with_functions:
                await self._answers("functions", f"{self.addresses.functions_url}/admin/host/status")
                self._functions_up = True
                self._event_grid.wake()
                self._say(f"functions: {self.addresses.functions_url}")
            environment.write(self._state / "env", self.environment())
            self._say("ready")
            await self._watch()
        finally:
            self._say("ending")
            # The app first: it must not see its platform go away under it.
            await asyncio.to_thread(self._processes.stop, "functions")
            for service in reversed(self._services):
                await service.stop()
            server.should_exit = True
            server.force_exit = True
            if serving is not None:
                await asyncio.wait([serving], timeout=5)
            await self._proxy.stop()
            await asyncio.to_thread(self._processes.stop_all)
            listener.close()

    # --- children ---------------------------------------------------------------------------------

    def _start_azurite(self) -> None:
        """Gently: Azure's storage keeps what it has acknowledged, and Azurite writes its index to disk only every five seconds."""
        data = self._state / "azurite"
        data.mkdir(exist_ok=True)
        self._processes.start("azurite", azurite.command(data, self._ports, self._certificates), log=self._state / "logs" / "azurite.log",
                              env=azurite.variables(self._config.accounts), cwd=data, gently=True)

    def _start_functions(self) -> None:
        variables = {**os.environ, **self.environment()}
        variables.pop("PILOTAGE_TOKEN", None)  # for scripts; the app verifies tokens and needs none
        variables.setdefault("PYTHONUNBUFFERED", "1")
        self._processes.start(
            "functions",
            [sys.executable, "-m", "emulator.functions_host", "--app", str(self._app), "--port", str(self._ports["functions"]),
             "--state", str(self._state / "functions"), "--clock", str(self._state / "clock.json")],
            log=self._state / "logs" / "functions.log", env=variables, cwd=self._app)

    async def _answers(self, name: str, url: str) -> None:
        """Wait until something listens and answers, whatever it says."""
        async with httpx.AsyncClient(verify=str(self._certificates.bundle), trust_env=False, timeout=5) as client:
            deadline = asyncio.get_running_loop().time() + START_WITHIN
            while asyncio.get_running_loop().time() < deadline:
                self._check_children()
                try:
                    await client.get(url)
                    return
                except httpx.HTTPError:
                    await asyncio.sleep(LOOK_EVERY)
        raise ChildDied(f"{name} did not answer at {url} within {START_WITHIN:g} s.\n{self._tail(name)}")

    async def _watch(self) -> None:
        """Sleep until the end; a child's death wakes us through SIGCHLD."""
        died = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, died.set)
        while not self._ending.is_set():
            waits = [asyncio.create_task(self._ending.wait()), asyncio.create_task(died.wait())]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
            died.clear()
            if not self._ending.is_set():
                self._check_children()

    def _check_children(self) -> None:
        for name, code in self._processes.dead().items():
            raise ChildDied(f"{name} ended with exit code {code}.\n{self._tail(name)}")

    def _tail(self, name: str) -> str:
        log = self._state / "logs" / f"{name}.log"
        return "\n".join(log.read_text(errors="replace").splitlines()[-25:]) if log.exists() else ""

    # --- the app ------------------------------------------------------------------------------------

    def _webhook(self, function: str) -> str:
        return (f"{self.addresses.functions_url}/runtime/webhooks/eventgrid?functionName={function}"
                f"&code={self._keys['eventgrid_extension']}")

    def _function_url(self, function: str) -> str | None:
        """Where Event Grid delivers; None while the app is not up."""
        return self._webhook(function) if self._functions_up else None

    async def _tell_functions(self, offset_seconds: float) -> None:
        """The Functions host has timers of its own: they move together with ours."""
        if not self._functions_up:
            return
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            answer = await client.post(f"{self.addresses.functions_url}/_emulator/clock", json={"offset_seconds": offset_seconds},
                                       headers={"x-functions-key": self._keys["master"]})
            answer.raise_for_status()


def _keys(state: Path) -> dict[str, str]:
    """The Functions host's keys and the app's link key: made once for a state folder."""
    path = state / "functions" / "keys.json"
    names = ("master", "default", "eventgrid_extension", "durabletask_extension", "link_key")
    found: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    if any(name not in found for name in names):
        found = {**{name: secrets.token_urlsafe(32) for name in names}, **found}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found))
        path.chmod(0o600)
    return found
