"""The identity service: what a managed identity asks for, and how people and scripts sign in.

Two kinds of tokens, as in Azure: v2.0 tokens for applications (issuer `{authority}`), and v1 tokens for
Azure's own services (issuer `https://sts.windows.net/{tenant}/`, which is also what Azurite wants to see).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from emulator.config import IdentityConfig, PlatformConfig
from emulator.context import Caller
from emulator.errors import Unauthorized
from emulator.identity.graph import Graph
from emulator.identity.secrets import Secrets
from emulator.identity.sign_in import Refused, SignIn
from emulator.identity.tokens import LIFETIME, TokenSigner

APPLICATION_SCHEME = "api://"
"""Audiences that begin so are applications of the tenant, such as `api://pilotage`; the others are Azure's services."""
DEFAULT_AUDIENCE = "api://pilotage"
SIGN_IN = "sign-in"
"""Under this name the secrets hold that of the application that people sign in to."""


class Identity:
    """Implements `IdentityVerifier` and the `Service` protocol. A person's password is their username."""

    def __init__(self, config: PlatformConfig, folder: Path, base_url: str, functions_url: str) -> None:
        self._config, self._base_url = config, base_url
        self._signer = TokenSigner(folder)
        self.secrets = Secrets(folder / "secrets.json", [*(i.id for i in config.identities if i.client_id), SIGN_IN])
        self._graph = Graph(config, base_url, self.caller)
        registered = config.app.sign_in
        self._sign_in = SignIn(
            registered, self.secrets.of(SIGN_IN), {i.username: i for i in config.identities if i.username is not None},
            [f"{functions_url}/.auth/login/aad/callback"]) if registered else None

    @property
    def authority(self) -> str:
        return f"{self._base_url}/{self._config.tenant}/v2.0"

    @property
    def _issuer_v1(self) -> str:
        return f"https://sts.windows.net/{self._config.tenant}/"

    def routes(self) -> list[BaseRoute]:
        tenant = f"/{self._config.tenant}"
        return [
            Route("/msi/token", self._managed_identity),
            Route(f"{tenant}/v2.0/.well-known/openid-configuration", self._discovery),
            Route(f"{tenant}/.well-known/openid-configuration", self._discovery_v1),
            Route(f"{tenant}/discovery/v2.0/keys", self._keys),
            Route(f"{tenant}/oauth2/v2.0/token", self._token, methods=["POST"]),
            Route("/_emulator/identity/rotate", self._rotate, methods=["POST"]),
            *self._graph.routes(),
            *([Route(f"{tenant}/oauth2/v2.0/authorize", self._sign_in.authorize, methods=["GET", "POST"]),
               Route(f"{tenant}/oauth2/v2.0/logout", self._sign_in.log_out)] if self._sign_in else []),
        ]

    async def start(self) -> None:
        """Nothing is left behind: tokens are not stored."""

    async def stop(self) -> None:
        """Nothing to end."""

    async def reset(self) -> None:
        """Nothing to forget: the seeded identities and the keys stay."""

    def easy_auth(self) -> dict[str, str]:
        """Variables by which the Functions host puts App Service Authentication in front of the app; none without `app.sign_in`."""
        registered = self._config.app.sign_in
        if registered is None:
            return {}
        return {"WEBSITE_AUTH_ENABLED": "True", "WEBSITE_AUTH_CLIENT_ID": registered.client_id, "WEBSITE_AUTH_SCOPE": registered.scope,
                "WEBSITE_AUTH_OPENID_ISSUER": self.authority, "MICROSOFT_PROVIDER_AUTHENTICATION_SECRET": self.secrets.of(SIGN_IN)}

    # --- tokens -------------------------------------------------------------------------------------

    def caller(self, authorization: str | None) -> Caller:
        """Raises Unauthorized; a token for an application of the tenant does not open Azure's services."""
        claims = self._claims(authorization)
        if str(claims["aud"]).startswith(APPLICATION_SCHEME):
            raise Unauthorized(f"the token is for {claims['aud']}, not for an Azure service")
        return Caller(object_id=claims["oid"], name=claims.get("name", ""), client_id=claims.get("appid") or claims.get("azp"),
                      roles=tuple(claims.get("roles", ())), audience=str(claims["aud"]))

    def name_of(self, authorization: str | None) -> str | None:
        """Who a valid token of any audience belongs to, for the journal."""
        try:
            return str(self._claims(authorization).get("name"))
        except Unauthorized:
            return None

    def _claims(self, authorization: str | None) -> dict[str, Any]:
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthorized("the request carries no bearer token")
        return self._signer.claims(token)

    def user_token(self, identity: IdentityConfig, audience: str = DEFAULT_AUDIENCE, lifetime: int = LIFETIME, nonce: str = "") -> str:
        """A v2.0 token for a seeded identity."""
        claims = self._common(identity) | {"iss": self.authority, "aud": audience, "ver": "2.0"}
        if nonce:
            claims["nonce"] = nonce
        if identity.username:
            claims["preferred_username"] = f"{identity.username}@local.test"
        if identity.client_id:
            claims["azp"] = identity.client_id
        return self._signer.sign(claims, lifetime)

    def _principal_token(self, identity: IdentityConfig, audience: str) -> str:
        """What an application gets for itself: in the version that the audience takes."""
        claims = self._common(identity) | {"aud": audience, "idtyp": "app"}
        if audience.startswith(APPLICATION_SCHEME):
            return self._signer.sign(claims | {"iss": self.authority, "ver": "2.0", "azp": identity.client_id})
        return self._signer.sign(claims | {"iss": self._issuer_v1, "ver": "1.0", "appid": identity.client_id})

    def _common(self, identity: IdentityConfig) -> dict[str, Any]:
        claims = {"tid": self._config.tenant, "oid": identity.object_id, "sub": identity.object_id, "name": identity.name,
                  "roles": list(identity.roles)}
        if len(identity.groups) <= self._config.groups_in_token:
            return claims | {"groups": list(identity.groups)}
        # The overage claim (learn.microsoft.com, id-token-claims-reference): it points to the directory, and names no group.
        source = f"https://graph.windows.net/{self._config.tenant}/users/{identity.object_id}/getMemberObjects"
        return claims | {"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": source}}}

    # --- HTTP ---------------------------------------------------------------------------------------

    async def _managed_identity(self, request: Request) -> Response:
        """As App Service answers azure-identity's ManagedIdentityCredential."""
        if not self.secrets.is_header(request.headers.get("x-identity-header", "")):
            return JSONResponse({"statusCode": 401, "message": "X-IDENTITY-HEADER does not match IDENTITY_HEADER"}, 401)
        query = request.query_params
        if client_id := query.get("client_id"):
            identity = self._find(lambda i: i.client_id == client_id)
        elif object_id := query.get("principal_id") or query.get("object_id"):
            identity = self._find(lambda i: i.object_id == object_id and i.client_id is not None)
        else:
            identity = self._config.identity(self._config.app_identity)
        audience = _audience(query.get("resource", ""))
        if identity is None or not audience:
            problem = "no managed identity of the platform has that id" if audience else "resource is missing"
            return JSONResponse({"statusCode": 400, "message": problem}, 400)
        return JSONResponse({
            "access_token": self._principal_token(identity, audience), "expires_on": str(int(time.time()) + LIFETIME),
            "resource": audience, "token_type": "Bearer", "client_id": identity.client_id})

    async def _discovery(self, request: Request) -> Response:
        return self._metadata(self.authority)

    async def _discovery_v1(self, request: Request) -> Response:
        """For those who verify a managed identity's token to an Azure service."""
        return self._metadata(self._issuer_v1)

    def _metadata(self, issuer: str) -> Response:
        root = f"{self._base_url}/{self._config.tenant}"
        return JSONResponse({
            "issuer": issuer, "jwks_uri": f"{root}/discovery/v2.0/keys", "token_endpoint": f"{root}/oauth2/v2.0/token",
            "authorization_endpoint": f"{root}/oauth2/v2.0/authorize", "end_session_endpoint": f"{root}/oauth2/v2.0/logout",
            "id_token_signing_alg_values_supported": ["RS256"], "response_types_supported": ["code"], "response_modes_supported": ["query"],
            "subject_types_supported": ["pairwise"], "code_challenge_methods_supported": ["S256"],
            "grant_types_supported": ["authorization_code", "client_credentials", "password"],
            "scopes_supported": ["openid", "profile", "email"], "token_endpoint_auth_methods_supported": ["client_secret_post"]})

    async def _keys(self, request: Request) -> Response:
        return JSONResponse(self._signer.key_set())

    async def _token(self, request: Request) -> Response:
        """authorization_code, client_credentials and password grants for the seeded identities."""
        try:
            form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        except ValueError:  # not UTF-8, or too many fields
            return _refusal(400, "invalid_request", "AADSTS900144: the request body is no form")
        if form.get("grant_type") == "authorization_code":
            return self._redeemed(form)
        scopes = form.get("scope", DEFAULT_AUDIENCE).split()
        audience = _audience(scopes[0]) if scopes else ""
        if not audience:
            return _refusal(400, "invalid_scope", "AADSTS70011: the scope names no resource")
        grant = form.get("grant_type")
        if grant == "password":
            username = form.get("username", "")
            person = self._find(lambda i: i.username is not None and i.username == username)
            if person is None or form.get("password") != person.username:
                return _refusal(400, "invalid_grant", "AADSTS50126: invalid username or password")
            token = self.user_token(person, audience)
        elif grant == "client_credentials":
            client_id = form.get("client_id", "")
            principal = self._find(lambda i: i.client_id is not None and i.client_id == client_id)
            if principal is None or not self.secrets.opens(principal.id, form.get("client_secret", "")):
                return _refusal(401, "invalid_client", "AADSTS7000215: unknown client or invalid client secret")
            token = self._principal_token(principal, audience)
        else:
            return _refusal(400, "unsupported_grant_type", "AADSTS70003: use authorization_code, client_credentials or password")
        return JSONResponse({"token_type": "Bearer", "expires_in": LIFETIME, "access_token": token})

    def _redeemed(self, form: dict[str, str]) -> Response:
        """Who has signed in with a browser, for the application that sent them."""
        try:
            if self._sign_in is None:
                raise Refused("invalid_client", "AADSTS700016: the platform has no application that people sign in to (app.sign_in)")
            grant = self._sign_in.redeem(form)
        except Refused as refused:
            return _refusal(401 if refused.error == "invalid_client" else 400, refused.error, refused.description)
        return JSONResponse({
            "token_type": "Bearer", "expires_in": LIFETIME, "scope": grant.scope,
            "access_token": self.user_token(grant.person, grant.audience),
            "id_token": self.user_token(grant.person, grant.client_id, nonce=grant.nonce)})

    async def _rotate(self, request: Request) -> Response:
        """Sign with a new key from now on, as Entra does now and then."""
        self._signer.rotate()
        return JSONResponse({"keys": len(self._signer.key_set()["keys"])})

    def _find(self, wanted: Callable[[IdentityConfig], bool]) -> IdentityConfig | None:
        return next((identity for identity in self._config.identities if wanted(identity)), None)


def _audience(resource: str) -> str:
    """A resource or scope as it stands in `aud`: without `/.default` and a trailing slash."""
    return resource.removesuffix("/.default").rstrip("/")


def _refusal(status: int, error: str, description: str) -> Response:
    return JSONResponse({"error": error, "error_description": description}, status)
