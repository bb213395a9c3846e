"""The local platform as one process: it starts the services and their children, and ends them.

Children start first and the services' modules are imported meanwhile: both take seconds.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emulator import azurite, certificates, environment, ports
from emulator.config import PlatformConfig
from emulator.errors import EmulatorError
from emulator.lock import StateLock
from emulator.processes import Processes

if TYPE_CHECKING:
    import httpx

START_WITHIN = 90.0
"""Seconds for a child to answer."""
_LOOK_EVERY = 0.05
_KEYS = ("master", "default", "eventgrid_extension", "durabletask_extension", "link_key")


class ChildDied(EmulatorError):
    """A child process of the platform ended by itself; its log's end follows."""


class Platform:
    """Everything that `emulator up` runs, on one state folder."""

    def __init__(self, config: PlatformConfig, state: Path, *, automatic_ports: bool, functions: bool, app: Path,
                 say: Callable[[str], None]) -> None:
        state.mkdir(parents=True, exist_ok=True)
        self._config, self._state = config, state.resolve()
        self._with_functions, self._app, self._say = functions, app.resolve(), say
        self._lock = StateLock(self._state)
        # Of an earlier process: whoever waits for the file waits for us to be ready.
        (self._state / "env").unlink(missing_ok=True)
        self._processes = Processes(self._state / "processes.json")
        self._ports = ports.choose(self._state / "ports.json", automatic_ports)
        self._certificates = certificates.ensure(self._state / "certs")
        self._keys = _keys(self._state / "functions" / "keys.json")
        self.addresses = environment.Addresses(
            f"https://localhost:{self._ports['platform']}", f"http://127.0.0.1:{self._ports['functions']}",
            f"http://127.0.0.1:{self._ports['proxy']}")
        self._reset_token = secrets.token_urlsafe(32)
        self._ending = asyncio.Event()
        self._child_ended = asyncio.Event()
        self._functions_up = False

    async def run(self) -> None:
        """Start, say `ready`, and stay until SIGTERM or SIGINT; raises ChildDied."""
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self._ending.set)
        loop.add_signal_handler(signal.SIGCHLD, self._child_ended.set)
        async with AsyncExitStack() as ends:
            self._ends = ends
            ends.callback(self._lock.release)
            ends.push_async_callback(asyncio.to_thread, self._processes.stop_all)
            starting = loop.create_task(self._start(ends), name="start")
            try:
                if await self._unless_ending(starting):
                    self._say("ready")
                    await self._watch()
            finally:
                self._say("ending")

    async def _start(self, ends: AsyncExitStack) -> None:
        self._start_azurite()
        # Imported here and now, while Azurite starts: they take as long as it does.
        from emulator.clock import VirtualClock
        from emulator.faults import Faults
        from emulator.identity import Identity
        from emulator.proxy import ConnectProxy
        from emulator.server import Server
        from emulator.services import Services
        from emulator.storage import AzuriteStorage

        faults = Faults()
        faults.load(self._state / "faults.json")
        proxy = ConnectProxy(self._ports["proxy"], self._ports, self._config.accounts, faults)
        self._identity = Identity(self._config, self._state / "identity", self.addresses.base_url, self.addresses.functions_url)
        self._services = Services(
            self._config, self._state, self.addresses.base_url, clock=VirtualClock(self._state / "clock.json"),
            storage=AzuriteStorage(self._ports["blob"], self._certificates.bundle), faults=faults, identity=self._identity,
            bundle=self._certificates.bundle, function_url=self._function_url, clock_moved=self._tell_functions, cut_storage=proxy.cut,
            clear_storage=self._clear_storage, reset_functions=self._reset_functions,
            orchestrations=self._durable, environment=self.environment)
        server = Server(self._services.asgi, ports.listener(self._ports["platform"]), self._certificates, self._services.connections)

        await proxy.start()
        ends.push_async_callback(proxy.stop)
        await server.start()
        ends.push_async_callback(server.stop)
        ends.push_async_callback(self._services.stop)
        self._say(f"platform: Azure ML, Event Grid and identity on {self.addresses.base_url}")
        if self._with_functions:
            # The app ends first: it must not see its platform go away under it.
            ends.push_async_callback(asyncio.to_thread, self._processes.stop, "functions")
            self._start_functions()
        for kind in azurite.KINDS:
            await self._answers("azurite", f"https://localhost:{self._ports[kind]}/")
        self._say(f"storage: Azurite behind the proxy {self.addresses.proxy_url}")
        await self._services.start()
        if self._with_functions:
            await self._answers("functions", f"{self.addresses.functions_url}/admin/host/status")
            self._functions_up = True
            self._services.event_grid.wake()
            self._say(f"functions: {self.addresses.functions_url}")
        environment.write(self._state / "env", self.environment())

    async def _unless_ending(self, starting: asyncio.Task[None]) -> bool:
        """Wait for the start; False when a signal ends it before it is over."""
        ending = asyncio.ensure_future(self._ending.wait())
        await asyncio.wait([starting, ending], return_when=asyncio.FIRST_COMPLETED)
        ending.cancel()
        if not starting.done():
            starting.cancel()
            await asyncio.wait([starting])
            return False
        starting.result()
        return True

    async def _watch(self) -> None:
        """Sleep until a signal ends the platform, or one says that a child has ended."""
        while not self._ending.is_set():
            waits = [asyncio.ensure_future(event.wait()) for event in (self._ending, self._child_ended)]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
            self._child_ended.clear()
            if not self._ending.is_set():
                self._check_children()

    # --- children ---------------------------------------------------------------------------------

    def _start_azurite(self) -> None:
        """Gently: Azure's storage keeps what it has acknowledged, and Azurite writes its index to disk only every five seconds."""
        data = self._state / "azurite"
        data.mkdir(exist_ok=True)
        self._processes.start("azurite", azurite.command(data, self._ports, self._certificates), log=self._state / "logs" / "azurite.log",
                              env=azurite.variables(self._config.accounts, self._reset_token), cwd=data, gently=True)

    def _start_functions(self) -> None:
        variables = environment.for_child(os.environ, self.environment())
        variables.pop("PILOTAGE_TOKEN", None)  # for scripts; the app verifies tokens and needs none
        variables.setdefault("PYTHONUNBUFFERED", "1")
        variables |= self._identity.easy_auth()
        self._processes.start(
            "functions",
            [sys.executable, "-m", "emulator.functions_host", "--app", str(self._app), "--port", str(self._ports["functions"]),
             "--state", str(self._state / "functions"), "--clock", str(self._state / "clock.json")],
            log=self._state / "logs" / "functions.log", env=variables, cwd=self._app)

    async def _answers(self, name: str, url: str) -> None:
        """Wait until a child listens and answers, whatever it says; raises ChildDied."""
        import httpx

        deadline = asyncio.get_running_loop().time() + START_WITHIN
        while asyncio.get_running_loop().time() < deadline:
            self._check_children()
            try:
                await self._local.get(url, timeout=5)
                return
            except httpx.HTTPError:
                await asyncio.sleep(_LOOK_EVERY)
        raise ChildDied(f"{name} did not answer at {url} within {START_WITHIN:g} s.\n{self._processes.tail(name)}")

    def _check_children(self) -> None:
        for name, code in self._processes.dead().items():
            raise ChildDied(f"{name} ended with exit code {code}.\n{self._processes.tail(name)}")

    # --- the app ------------------------------------------------------------------------------------

    def environment(self) -> dict[str, str]:
        """The variables of `DIR/env`."""
        config = self._config
        variables = environment.platform_variables(config, self.addresses, self._certificates, self._identity.secrets.header)
        variables |= config.settings({
            "base_url": self.addresses.base_url, "host": self.addresses.base_url.partition("://")[2],
            "functions_url": self.addresses.functions_url, "tenant": config.tenant, "state": str(self._state),
            "link_key": self._keys["link_key"]})
        variables["FUNCTIONS_URL"] = self.addresses.functions_url
        if functions := [subscription.function for subscription in config.subscriptions if subscription.function]:
            variables["EVENTGRID_WEBHOOK_URL"] = self._webhook(functions[0])
        if config.topics:
            topic = config.topics[0].name
            variables["EVENTGRID_TOPIC_ENDPOINT"] = self._services.event_grid.topic_endpoint(topic)
            variables["EVENTGRID_TOPIC_KEY"] = self._services.event_grid.topic_key(topic)
        for identity in config.identities:
            if identity.client_id:
                variables[f"EMULATOR_CLIENT_SECRET_{identity.id.upper()}"] = self._identity.secrets.of(identity.id)
        if config.script_identity:
            variables["PILOTAGE_TOKEN"] = self._identity.user_token(config.identity(config.script_identity))
        return variables

    def _webhook(self, function: str) -> str:
        return (f"{self.addresses.functions_url}/runtime/webhooks/eventgrid?functionName={function}"
                f"&code={self._keys['eventgrid_extension']}")

    def _function_url(self, function: str) -> str | None:
        """Where Event Grid delivers; None while the app is not up."""
        return self._webhook(function) if self._functions_up else None

    # --- strings to other processes -----------------------------------------------------------------

    async def _tell_functions(self, offset_seconds: float) -> None:
        """The Functions host has timers of its own: they move together with ours. Raises httpx.HTTPError."""
        await self._ask_functions("/_emulator/clock", {"offset_seconds": offset_seconds})

    async def _reset_functions(self) -> None:
        """No durable work is left, and nothing of it runs. Raises httpx.HTTPError."""
        await self._ask_functions("/_emulator/reset", {})

    async def _durable(self, path: str, query: Mapping[str, str]) -> Any:
        """A GET of the durable management API; None when there is no app, or not what is asked for. Raises httpx.HTTPError."""
        if not self._functions_up:
            return None
        answer = await self._local.get(f"{self.addresses.functions_url}/runtime/webhooks/durabletask/{path}", params=query,
                                       headers={"x-functions-key": self._keys["durabletask_extension"]})
        if answer.status_code == 404:
            return None
        answer.raise_for_status()
        return answer.json()

    async def _ask_functions(self, path: str, body: dict[str, Any]) -> None:
        if self._functions_up:
            answer = await self._local.post(self.addresses.functions_url + path, json=body,
                                            headers={"x-functions-key": self._keys["master"]})
            answer.raise_for_status()

    async def _clear_storage(self) -> None:
        """Every account is empty; containers, tables and queues stay. Raises httpx.HTTPError."""
        answer = await self._local.post(f"https://localhost:{self._ports['blob']}{azurite.RESET_PATH}",
                                        headers={azurite.RESET_HEADER: self._reset_token})
        answer.raise_for_status()

    @cached_property
    def _local(self) -> httpx.AsyncClient:
        """For our own children; made when it is first needed, as the library takes its time to load."""
        import httpx

        client = httpx.AsyncClient(verify=self._certificates.trust(), trust_env=False, timeout=30)
        self._ends.push_async_callback(client.aclose)
        return client


def _keys(path: Path) -> dict[str, str]:
    """The Functions host's keys and the app's link key: made once for a state folder."""
    found: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    if any(name not in found for name in _KEYS):
        found = {**{name: secrets.token_urlsafe(32) for name in _KEYS}, **found}
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.touch(mode=0o600)
        temporary.write_text(json.dumps(found))
        os.replace(temporary, path)
    return found
