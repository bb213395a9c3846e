"""Every activity by its name, as function_app registers them."""

from __future__ import annotations

from collections.abc import Callable

from activities import approving, assets, deploying, evidence, gates, production, retraining, sweeping, telling, windows
from activities.names import Activity

_MODULES = (approving, assets, deploying, evidence, gates, production, retraining, sweeping, telling, windows)


def _find(name: str) -> Callable[[dict], dict]:
    for module in _MODULES:
        if function := getattr(module, name, None):
            return function
    raise LookupError(f"no activity is called {name}")


ACTIVITIES: dict[str, Callable[[dict], dict]] = {name.value: _find(name.value) for name in Activity}
