"""Runs Azure's inference server for deployments; executed by the inference image's Python.

It imports nothing of ours. A fork server: it imports what every scoring process needs once, then forks a
process for each deployment, which serves that deployment's script as `azmlinfsrv` does. A fork starts in a
fraction of a second, where a fresh interpreter takes several, and shares the imported pages.

It reads one JSON object a line from stdin: `{"id", "entry_script", "model_dir", "cwd", "log", "environment"}`
and writes `{"id", "pid", "port"}` for each started and `{"pid", "exit"}` for each ended process to stdout. It
ends, with every process it forked, when stdin closes or its parent dies.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
from typing import Any

PR_SET_PDEATHSIG = 1
FIRST_PASSED = 3
"""File descriptor of the first socket that systemd would pass."""
SERVER = "azureml_inference_server_http"
WARM = (
    "flask",
    "gunicorn.app.wsgiapp",
    "gunicorn.workers.sync",
    "inference_schema.schema_util",
    f"{SERVER}.amlserver",
    f"{SERVER}.amlserver_linux",
    f"{SERVER}.server.create_app",
    "mlflow.pyfunc",
    "mlflow.models.utils",
    "pandas",
    "numpy",
    "scipy.sparse",
    "sklearn.compose",
    "sklearn.ensemble",
    "sklearn.impute",
    "sklearn.linear_model",
    "sklearn.pipeline",
    "sklearn.preprocessing",
    "cloudpickle",
)
"""Heavy imports of scoring; one that an image lacks is left out."""


def die_with_parent(parent: int) -> None:
    """Ask the kernel to kill this process when its parent dies (Linux; elsewhere the pipe's end tells)."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def warm() -> None:
    for name in WARM:
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    # The server reads its settings from the environment while it is imported: forks import it again.
    for name in [name for name in sys.modules if name == SERVER or name.startswith(SERVER + ".")]:
        del sys.modules[name]
    # Objects that live for ever are not looked at by forks' collectors, which would copy their pages.
    gc.collect()
    gc.freeze()


def serve(spec: dict[str, Any], listener: socket.socket) -> None:
    """Become the scoring process of one deployment: `azmlinfsrv` on a socket that is bound already."""
    parent = os.getpid()
    port = listener.getsockname()[1]
    # As by systemd's socket activation, which gunicorn knows: on loopback, where azmlinfsrv would take every
    # interface, and no other process can take the port meanwhile. The host's own files are not for a model.
    os.dup2(listener.detach(), FIRST_PASSED)
    os.closerange(FIRST_PASSED + 1, 1024)

    def bind_worker() -> None:
        # gunicorn's worker, or what the user's script forks.
        if os.getppid() == parent:
            die_with_parent(parent)

    os.register_at_fork(after_in_child=bind_worker)
    os.environ.clear()
    os.environ.update(spec["environment"], LISTEN_PID=str(parent), LISTEN_FDS="1")
    os.chdir(spec["cwd"])
    log = os.open(spec["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for target in (1, 2):
        os.dup2(log, target)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    amlserver = importlib.import_module(f"{SERVER}.amlserver")
    sys.argv = ["azmlinfsrv", "--entry_script", spec["entry_script"], "--port", str(port)]
    if spec.get("model_dir"):
        sys.argv += ["--model_dir", spec["model_dir"]]
    amlserver.run()


def fork(spec: dict[str, Any], listener: socket.socket) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        die_with_parent(parent)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        serve(spec, listener)
        status = 0
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def main() -> None:
    die_with_parent(int(sys.argv[1]))
    # The replies' pipe is kept apart: what is imported or forked may print.
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.set_inheritable(replies.fileno(), False)
    os.dup2(2, 1)
    warm()
    reading, writing = os.pipe()
    for descriptor in (reading, writing):
        os.set_blocking(descriptor, False)
    signal.set_wakeup_fd(writing)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    children: set[int] = set()
    buffer = b""
    with selectors.DefaultSelector() as selector:
        selector.register(0, selectors.EVENT_READ)
        selector.register(reading, selectors.EVENT_READ)
        replies.write(json.dumps({"ready": True}) + "\n")
        while True:
            for key, _ in selector.select():
                if key.fd == reading:
                    with contextlib.suppress(BlockingIOError):
                        os.read(reading, 4096)
                    reap(children, replies)
                    continue
                chunk = os.read(0, 65536)
                if not chunk:
                    for pid in children:
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(pid, signal.SIGKILL)
                    return
                buffer += chunk
                *lines, buffer = buffer.split(b"\n")
                for line in lines:
                    spec = json.loads(line)
                    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
                        pid = fork(spec, listener)
                        port = listener.getsockname()[1]
                    children.add(pid)
                    replies.write(json.dumps({"id": spec["id"], "pid": pid, "port": port}) + "\n")


def reap(children: set[int], replies: Any) -> None:
    for pid in list(children):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            children.discard(pid)
            replies.write(json.dumps({"pid": pid, "exit": os.waitstatus_to_exitcode(status)}) + "\n")


if __name__ == "__main__":
    main()
