"""The OpenAPI description of every HTTP route, made from the models that check the bodies."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import azure.durable_functions as df
import azure.functions as func
from pydantic import BaseModel

from functions.approvals import CommentBody, DecisionBody, DelegationBody, ReviewBody
from functions.channels import TryBody
from functions.evidence import WaiverBody
from functions.http import Call, Reply, serve
from functions.pages import ReviewForm, RollbackForm
from functions.promotions import PromoteBody, RetryBody, RollbackBody
from pilotage.domain.access import Role

bp = df.Blueprint(http_auth_level=func.AuthLevel.ANONYMOUS)
JSON, HTML, ZIP, FORM = "application/json", "text/html", "application/zip", "application/x-www-form-urlencoded"
VERSION = "1.0.0"


@dataclass(frozen=True)
class Operation:
    """One route by one method."""

    method: str
    route: str
    summary: str
    role: Role
    success: tuple[int, ...] = (200,)
    body: type[BaseModel] | None = None
    """None for a POST: a body of somebody else's, or none."""
    query: tuple[str, ...] = ()
    """Names; those that end with ! are required."""
    kind: str = JSON
    refusals: tuple[int, ...] = ()

    @property
    def is_form(self) -> bool:
        return self.body in (ReviewForm, RollbackForm)


OPERATIONS = (
    Operation("get", "promotions", "List promotions, newest first, of the caller's teams", Role.READER,
              query=("model", "phase", "policy", "limit", "after")),
    Operation("post", "promotions", "Promote a version by hand", Role.OPERATOR, (202,), PromoteBody, refusals=(404, 409)),
    Operation("get", "promotions/{promotion}", "One promotion with its steps, gates, plan and approval", Role.READER, refusals=(404,)),
    Operation("post", "promotions/{promotion}/retry", "Start the next attempt", Role.OPERATOR, (202,), RetryBody, refusals=(404, 409)),
    Operation("post", "promotions/{promotion}/rollback", "Restore the traffic from before, exactly", Role.OPERATOR, (202,), RollbackBody,
              refusals=(404, 409)),
    Operation("get", "promotions/{promotion}/plan", "The plan that is asked about, or what one would do", Role.READER, refusals=(404,)),
    Operation("get", "plan", "The plan of a version", Role.READER, query=("model!", "version!", "workspace", "registry", "policy"),
              refusals=(404,)),
    Operation("get", "promotions/{promotion}/report", "The gates' evidence", Role.READER, query=("format",), kind=HTML, refusals=(404,)),
    Operation("post", "promotions/{promotion}/waivers", "Pass over a failed gate", Role.APPROVER, (201,), WaiverBody, refusals=(404, 409)),
    Operation("get", "promotions/{promotion}/passport", "The passport as a file that proves itself", Role.READER, refusals=(404,)),
    Operation("post", "promotions/{promotion}/review", "The review that follows a broken glass", Role.APPROVER, (201,), ReviewBody,
              refusals=(404, 409)),
    Operation("post", "approvals/{promotion}/decision", "Approve, reject, withdraw, or break the glass; the callback for machines",
              Role.APPROVER, (200, 202), DecisionBody, query=("token",), refusals=(404, 409, 410)),
    Operation("get", "approvals/{promotion}/comments", "What people said of a promotion", Role.READER, refusals=(404,)),
    Operation("post", "approvals/{promotion}/comments", "Say something", Role.READER, (201,), CommentBody, refusals=(404,)),
    Operation("post", "delegations", "Let somebody else decide for the caller, until a time", Role.APPROVER, (201,), DelegationBody,
              refusals=(404,)),
    Operation("get", "delegations/{policy}", "Who decides for whom", Role.READER, refusals=(404,)),
    Operation("delete", "delegations/{policy}/{delegation}", "Take a delegation back", Role.APPROVER, refusals=(404,)),
    Operation("get", "keys", "The public keys that signed passports, as a JWK Set", Role.READER),
    Operation("get", "audit", "The evidence of a period as one signed zip", Role.READER, query=("from!", "to!"), kind=ZIP),
    Operation("get", "explain", "Why this is live", Role.READER, query=("model", "version", "endpoint", "workspace"), refusals=(404,)),
    Operation("get", "channels", "How each channel fares by which people are told", Role.READER),
    Operation("post", "channels/{channel}/test", "Send a test card to a channel", Role.OPERATOR, (200,), TryBody, refusals=(404,)),
    Operation("get", "openapi.json", "This description", Role.READER),
    Operation("post", "alerts", "Azure Monitor's common alert schema, by secure webhook", Role.OPERATOR, (200, 202)),
    Operation("get", "ui", "The overview page", Role.READER, query=("model", "policy", "phase", "after"), kind=HTML),
    Operation("get", "ui/promotions/{promotion}", "A promotion's page", Role.READER, kind=HTML, refusals=(404,)),
    Operation("post", "ui/promotions/{promotion}/rollback", "The rollback form", Role.OPERATOR, (303,), RollbackForm, kind=HTML,
              refusals=(404, 409, 410)),
    Operation("get", "ui/approvals/{promotion}", "The review page of a decision link", Role.READER, query=("token!",), kind=HTML,
              refusals=(404, 409, 410)),
    Operation("post", "ui/approvals/{promotion}", "The review form", Role.READER, (303,), ReviewForm, query=("token!",), kind=HTML,
              refusals=(404, 409, 410)),
    Operation("get", "ui/live.js", "The script that brings pages up to date", Role.READER, kind="text/javascript"),
)


def description() -> dict[str, Any]:
    """OpenAPI 3.1."""
    paths: dict[str, Any] = {}
    schemas: dict[str, Any] = {"Error": {
        "type": "object", "required": ["error"], "properties": {"error": {
            "type": "object", "required": ["code", "message"], "properties": {"code": {"type": "string"}, "message": {"type": "string"}}}}}}
    for operation in OPERATIONS:
        paths.setdefault(f"/api/{operation.route}", {})[operation.method] = _operation(operation, schemas)
    return {
        "openapi": "3.1.0", "info": {"title": "Pilotage", "version": VERSION, "description": (
            "Every route takes a bearer token of the tenant with an app role; docs/approvals.md shows the callback.")},
        "paths": paths, "security": [{"bearer": []}],
        "components": {"schemas": schemas, "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}}}


def _operation(operation: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    refused = HTML if operation.kind == HTML and operation.route.startswith("ui") else JSON
    error: dict[str, Any] = {"type": "string"} if refused == HTML else {"$ref": "#/components/schemas/Error"}
    answers: dict[str, Any] = {str(status): {"description": "done", **_content(operation)} for status in operation.success}
    for status in sorted({400, 401, 403, 503, *operation.refusals}):
        answers[str(status)] = {"description": "refused, with the reason", "content": {refused: {"schema": error}}}
    if operation.method in ("post", "delete"):
        answers["413"] = {"description": "the body is too large", "content": {refused: {"schema": error}}}
    found: dict[str, Any] = {
        "summary": operation.summary, "operationId": re.sub(r"\W+", "_", f"{operation.method}_{operation.route}").strip("_"),
        "description": f"Takes the app role {operation.role.value}.", "responses": answers, "parameters": [
            *({"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
              for name in re.findall(r"\{(\w+)\}", operation.route)),
            *({"name": name.rstrip("!"), "in": "query", "required": name.endswith("!"), "schema": {"type": "string"}}
              for name in operation.query)]}
    if operation.body is not None:
        schema = operation.body.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= schema.pop("$defs", {})
        schemas[operation.body.__name__] = schema
        found["requestBody"] = {"required": bool(schema.get("required")), "content": {
            FORM if operation.is_form else JSON: {"schema": {"$ref": f"#/components/schemas/{operation.body.__name__}"}}}}
    return found


def _content(operation: Operation) -> dict[str, Any]:
    if 303 in operation.success:
        return {"headers": {"Location": {"schema": {"type": "string"}}}}
    kinds = {operation.kind} | ({JSON} if "format" in operation.query else set())
    return {"content": {kind: {"schema": {"type": "object" if kind == JSON else "string"}} for kind in sorted(kinds)}}


@bp.route(route="openapi.json", methods=["GET"])
def openapi(req: func.HttpRequest) -> func.HttpResponse:
    """The description of every route."""

    def handle(call: Call) -> Reply:
        return Reply(200, description())

    return serve(req, Role.READER, handle)
