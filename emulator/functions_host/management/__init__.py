"""The durable HTTP management API: `/runtime/webhooks/durabletask/...`.

`routes` finds the operation, `filters` reads query parameters, `instances` and `entities` do the work, `history` and
`views` give the extension's JSON. Source: learn.microsoft.com, durable-functions-http-api, and HttpApiHandler.cs of
azure-functions-durable-extension where the page is silent. Stricter in one thing: a filter that can't be read is a 400 that
names it, where the extension leaves it out and may purge more than was meant.
"""

from emulator.functions_host.management.routes import Management

__all__ = ["Management"]
