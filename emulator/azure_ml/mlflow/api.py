"""The MLflow REST API of workspaces: `/mlflow/v2.0{workspace}/api/2.0/mlflow/...` and the proxy of artifacts beside it.

As Azure ML serves it, `v1.0` and `v2.0` alike. Every request needs a token: a platform's, or a running job's own.
Source: https://mlflow.org/docs/latest/rest-api.html and the protocol buffers in mlflow/protos.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from emulator.azure_ml.bodies import json_object
from emulator.azure_ml.errors import AzureMlError
from emulator.azure_ml.mlflow.actions import action_of, action_of_artifact
from emulator.azure_ml.mlflow.artifacts import Artifacts
from emulator.azure_ml.mlflow.calls import Call, Handler, Table
from emulator.azure_ml.mlflow.errors import NO_ENDPOINT, UNAUTHENTICATED, MlflowError, error_response, translated
from emulator.azure_ml.mlflow.experiments import Experiments
from emulator.azure_ml.mlflow.fields import Fields
from emulator.azure_ml.mlflow.logged_models import LoggedModels
from emulator.azure_ml.mlflow.models import Models
from emulator.azure_ml.mlflow.runs import Runs
from emulator.azure_ml.resource import PROVIDER, Scope, json_response
from emulator.context import Caller, Unauthorized

if TYPE_CHECKING:
    from emulator.azure_ml.service import AzureMl

logger = logging.getLogger(__name__)

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
_PATH = re.compile(
    r"^/mlflow/v[12]\.0/subscriptions/(?P<subscription>[^/]+)/resourceGroups/(?P<group>[^/]+)"
    rf"/providers/{re.escape(PROVIDER)}/workspaces/(?P<workspace>[^/]+)"
    r"/+(?:ajax-)?api/2\.0/(?P<service>mlflow|mlflow-artifacts)/(?P<call>.*)$",
    re.IGNORECASE,
)


class Api:
    def __init__(self, azure_ml: AzureMl) -> None:
        self._azure_ml = azure_ml
        experiments = Experiments(azure_ml)
        runs = Runs(azure_ml, experiments)
        self._artifacts = Artifacts(azure_ml, runs)
        logged = LoggedModels(azure_ml, experiments, runs, self._artifacts)
        models = Models(azure_ml, logged)
        self._table: Table = {}
        for part in (experiments, runs, self._artifacts, logged, models):
            self._table.update(part.table())

    def routes(self) -> list[BaseRoute]:
        return [Route("/mlflow/{rest:path}", self.serve, methods=METHODS)]

    async def serve(self, request: Request) -> Response:
        try:
            return await self._answer(request)
        except MlflowError as error:
            return error_response(error)
        except AzureMlError as error:
            return error_response(translated(error))
        except Unauthorized as refusal:
            return error_response(MlflowError(UNAUTHENTICATED, str(refusal)))
        except Exception as problem:
            logger.exception("%s %s broke", request.method, request.url.path)
            return json_response({"error_code": "INTERNAL_ERROR", "message": f"{type(problem).__name__}: {problem}"}, 500)

    async def _answer(self, request: Request) -> Response:
        found = _PATH.match(request.url.path)
        authorization = request.headers.get("authorization")
        if found is None:
            self._azure_ml.context.identity.caller(authorization)
            raise MlflowError(NO_ENDPOINT, f"{request.url.path} is not a path of the MLflow API.")
        scope = self._azure_ml.scopes.find("workspaces", found["subscription"], found["group"], found["workspace"])
        caller = self._azure_ml.jobs.tokens.caller(authorization, scope)
        if found["service"].lower() == "mlflow-artifacts":
            return await self._proxied(request, scope, caller, found["call"])
        path = found["call"].strip("/")
        handler, names = self._handler(request.method, path)
        self._azure_ml.jobs.tokens.require(caller, action_of(request.method, path), scope)
        return json_response(await handler(Call(scope, caller, await _fields(request), names)))

    def _handler(self, method: str, path: str) -> tuple[Handler, tuple[str, ...]]:
        """What answers a path, and the names in it."""
        exact = self._table.get(f"{method} {path}")
        if exact is not None:
            return exact, ()
        parts = path.split("/")
        for pattern, handler in self._table.items():
            verb, _, wanted = pattern.partition(" ")
            expected = wanted.split("/")
            if verb == method and len(expected) == len(parts) and "*" in expected:
                pairs = list(zip(expected, parts, strict=True))
                if all(one == part or (one == "*" and part) for one, part in pairs):
                    return handler, tuple(part for one, part in pairs if one == "*")
        raise MlflowError(NO_ENDPOINT, f"The MLflow API has no {method} {path} here.")

    async def _proxied(self, request: Request, scope: Scope, caller: Caller, path: str) -> Response:
        root, _, rest = path.partition("/")
        if root == "artifacts":
            asked = rest or request.query_params.get("path", "")
            self._azure_ml.jobs.tokens.require(caller, action_of_artifact(request.method, asked), scope)
            match request.method:
                case "GET" if not rest:
                    return json_response(await self._artifacts.list_of_path(Call(scope, caller, await _fields(request))))
                case "GET":
                    return await self._artifacts.download(scope, rest)
                case "PUT":
                    return await self._artifacts.upload(scope, rest, await request.body())
        raise MlflowError(NO_ENDPOINT, f"The MLflow artifacts API has no {request.method} {path} here.")


async def _fields(request: Request) -> Fields:
    """The body of a request; the query of a GET, where a name given twice is a list."""
    if request.method == "GET":
        query: dict[str, Any] = {}
        for name in request.query_params:
            values = request.query_params.getlist(name)
            query[name] = values[0] if len(values) == 1 else values
        return Fields(query)
    return Fields(await json_object(request))
