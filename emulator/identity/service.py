"""The identity service: what a managed identity asks for, and how people and scripts sign in.

Two issuers, as in Azure: v2.0 tokens for applications (`{authority}`), and v1 tokens of managed identities
(`https://sts.windows.net/{tenant}/`), which is also the issuer that Azurite wants to see.
"""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from emulator.config import IdentityConfig, PlatformConfig
from emulator.context import Caller, Unauthorized
from emulator.identity.tokens import LIFETIME, TokenSigner

APPLICATION = "api://pilotage"


class Identity:
    """Implements `IdentityVerifier` and the `Service` protocol."""

    def __init__(self, config: PlatformConfig, folder: Path, base_url: str) -> None:
        self._config, self._base_url = config, base_url
        self._signer = TokenSigner(folder)
        header = folder / "msi-header"
        if not header.exists():
            header.write_text(secrets.token_hex(16))
        self.header = header.read_text()
        """What `IDENTITY_HEADER` has to be."""

    @property
    def authority(self) -> str:
        return f"{self._base_url}/{self._config.tenant}/v2.0"

    def routes(self) -> list[BaseRoute]:
        tenant = "/{tenant}"
        return [
            Route("/msi/token", self._managed_identity),
            Route(tenant + "/v2.0/.well-known/openid-configuration", self._discovery),
            Route(tenant + "/discovery/v2.0/keys", self._keys),
            Route(tenant + "/oauth2/v2.0/token", self._token, methods=["POST"]),
            Route("/_emulator/identity/rotate", self._rotate, methods=["POST"]),
        ]

    async def start(self) -> None:
        """Nothing is left behind: tokens are not stored."""

    async def stop(self) -> None:
        """Nothing to end."""

    def caller(self, authorization: str | None) -> Caller:
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthorized("the request carries no bearer token")
        claims = self._signer.claims(token)
        return Caller(object_id=claims["oid"], name=claims.get("name", ""), client_id=claims.get("appid") or claims.get("azp"),
                      roles=tuple(claims.get("roles", ())))

    def user_token(self, identity: IdentityConfig, audience: str = APPLICATION, lifetime: int = LIFETIME) -> str:
        """A v2.0 token for a seeded identity."""
        claims: dict[str, Any] = {
            "iss": self.authority, "aud": audience, "tid": self._config.tenant, "ver": "2.0", "oid": identity.object_id,
            "sub": identity.object_id, "name": identity.name, "roles": list(identity.roles), "groups": list(identity.groups)}
        if identity.username:
            claims["preferred_username"] = f"{identity.username}@local.test"
        if identity.client_id:
            claims["azp"] = identity.client_id
        return self._signer.sign(claims, lifetime)

    async def _managed_identity(self, request: Request) -> Response:
        """As App Service answers azure-identity's ManagedIdentityCredential."""
        if not secrets.compare_digest(request.headers.get("x-identity-header", ""), self.header):
            return JSONResponse({"statusCode": 401, "message": "X-IDENTITY-HEADER does not match IDENTITY_HEADER"}, 401)
        client_id = request.query_params.get("client_id")
        if client_id is None:
            identity: IdentityConfig | None = self._config.identity(self._config.app_identity)
        else:
            identity = next((i for i in self._config.identities if i.client_id == client_id), None)
        resource = request.query_params.get("resource", "").removesuffix("/.default").rstrip("/")
        if identity is None or not resource:
            problem = f"no managed identity has client id {client_id!r}, or resource is missing"
            return JSONResponse({"statusCode": 400, "message": problem}, 400)
        token = self._signer.sign({
            "iss": f"https://sts.windows.net/{self._config.tenant}/", "aud": resource, "tid": self._config.tenant, "ver": "1.0",
            "oid": identity.object_id, "sub": identity.object_id, "name": identity.name, "appid": identity.client_id,
            "idtyp": "app", "roles": list(identity.roles)})
        return JSONResponse({"access_token": token, "expires_on": str(int(time.time()) + LIFETIME), "resource": resource,
                             "token_type": "Bearer", "client_id": identity.client_id})

    async def _discovery(self, request: Request) -> Response:
        if request.path_params["tenant"] != self._config.tenant:
            return JSONResponse({"error": "invalid_tenant"}, 400)
        root = f"{self._base_url}/{self._config.tenant}"
        return JSONResponse({
            "issuer": self.authority, "jwks_uri": f"{root}/discovery/v2.0/keys", "token_endpoint": f"{root}/oauth2/v2.0/token",
            "id_token_signing_alg_values_supported": ["RS256"], "response_types_supported": ["token"],
            "subject_types_supported": ["pairwise"]})

    async def _keys(self, request: Request) -> Response:
        return JSONResponse(self._signer.key_set())

    async def _token(self, request: Request) -> Response:
        """client_credentials and password grants for the seeded identities (a local password is the user's name)."""
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        audience = form.get("scope", f"{APPLICATION}/.default").split()[0].removesuffix("/.default")
        grant = form.get("grant_type")
        found: IdentityConfig | None = None
        if grant == "password":
            found = next((i for i in self._config.identities if i.username and i.username == form.get("username")), None)
            ok = found is not None and secrets.compare_digest(form.get("password", ""), found.username or "")
        elif grant == "client_credentials":
            found = next((i for i in self._config.identities if i.client_id and i.client_id == form.get("client_id")), None)
            ok = found is not None and secrets.compare_digest(form.get("client_secret", ""), self.header)
        else:
            return JSONResponse({"error": "unsupported_grant_type", "error_description": "use password or client_credentials"}, 400)
        if not ok or found is None:
            return JSONResponse({"error": "invalid_grant", "error_description": "unknown identity or wrong secret"}, 400)
        return JSONResponse({"token_type": "Bearer", "expires_in": LIFETIME, "access_token": self.user_token(found, audience)})

    async def _rotate(self, request: Request) -> Response:
        self._signer.rotate()
        return JSONResponse({"keys": len(self._signer.key_set()["keys"])})
