"""Puts the app together: every port with its adapter, once a process.

Importing this module imports no adapter: a worker that replays orchestrations pays for none. The Azure ML
SDK (seconds to import) is loaded by the first call that needs it, not when the app is built.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

from pilotage.clock import ShiftedClock, SystemClock
from pilotage.domain.access import Actor, groups_in, is_object_id
from pilotage.errors import Forbidden, Unavailable
from pilotage.ports import Clock, Deployments, Groups, Identity, Jobs, ModelRegistry, Notifier, PolicySource, Signer, Tickets
from pilotage.settings import Settings

if TYPE_CHECKING:
    from pilotage.ledger import Ledger

# These log each request at INFO with its URL: a webhook's is a secret, and the noise is paid for by the gigabyte.
_LOUD = ("azure", "httpx", "httpcore", "msal", "urllib3")


MARKERS = "markers"
"""Added to the ledger container's name: where the outbox's markers are. They are deleted, which the evidence's container may forbid."""


class NoDirectory:
    """Where there is nobody to ask about groups: fails closed."""

    def of(self, object_id: str, candidates: Sequence[str]) -> list[str]:
        raise Unavailable("group membership can't be resolved: no directory is configured")


@dataclass(frozen=True)
class App:
    """Everything that functions and activities use."""

    settings: Settings
    clock: Clock
    policies: PolicySource
    ledger: Ledger
    notifier: Notifier
    identity: Identity
    tickets: Tickets
    registry: ModelRegistry
    deployments: Deployments
    jobs: Jobs
    groups: Groups = field(default_factory=NoDirectory)

    def with_groups(self, actor: Actor, named: Sequence[str]) -> Actor:
        """The actor with those groups that a rule names (`group:<object id>` among `named`), asked for where the token has none.

        Raises Unavailable when the directory can't be asked. Raises Forbidden when the rule names its groups by display name
        only, which the directory can't be asked about, and does not name the person either.
        """
        candidates = groups_in(named)
        if not actor.groups_overage or not candidates:
            return actor
        if ids := [group for group in candidates if is_object_id(group)]:
            return actor.model_copy(update={"groups": self.groups.of(actor.object_id, ids)})
        if f"user:{actor.object_id}".casefold() in {text.casefold() for text in named}:
            return actor
        raise Forbidden("you are in more groups than a token holds, and the policy names its groups by display name: "
                        "ask its team to name them by object id")


_lock = Lock()
_app: App | None = None


def app() -> App:
    """The process's app, built from the environment when first asked for. Raises InvalidInput with what to set."""
    global _app
    with _lock:
        if _app is None:
            _app = build(Settings.from_environment())
        return _app


def use(replacement: App | None) -> None:
    """Run on another app (or, with None, build it anew from the environment when next asked for)."""
    global _app
    with _lock:
        _app = replacement


def build(settings: Settings) -> App:
    """An app on Azure. Connects to nothing: each adapter does when it is first used."""
    from pilotage.azureml import Connections, OnlineDeployments, PipelineJobs, WorkspaceModelRegistry
    from pilotage.identity import BearerIdentity, GraphGroups, SignedTickets
    from pilotage.ledger import Ledger
    from pilotage.ledger.azure import BlobRecords, TableRows
    from pilotage.notify import Channels
    from pilotage.policies import FolderPolicies

    for name in _LOUD:
        logging.getLogger(name).setLevel(logging.WARNING)
    clock = ShiftedClock(settings.clock_file) if settings.clock_file else SystemClock()
    policies = FolderPolicies(settings.policies)
    connections = Connections(settings)
    return App(
        settings=settings, clock=clock, policies=policies,
        ledger=Ledger(
            BlobRecords(settings.ledger_blob_url, settings.ledger_container),
            TableRows(settings.ledger_table_url, settings.ledger_container), clock,
            signer=_signer(settings), markers=BlobRecords(settings.ledger_blob_url, settings.ledger_container + MARKERS)),
        notifier=Channels(settings.notify_webhook, settings.notify_channels),
        identity=BearerIdentity(settings.auth_issuer, settings.auth_audiences),
        tickets=SignedTickets(settings.link_key, clock),
        registry=WorkspaceModelRegistry(connections, lambda: policies.guardrails().submitters),
        deployments=OnlineDeployments(connections), jobs=PipelineJobs(connections), groups=GraphGroups(settings.graph_url),
    )


def _signer(settings: Settings) -> Signer:
    from pilotage.signing.key_vault import KeyVaultKey
    from pilotage.signing.local import LocalKey

    if settings.signing_key_id is not None:
        return KeyVaultKey(settings.signing_key_id)
    assert settings.signing_key is not None  # the settings' validation holds it
    return LocalKey(settings.signing_key)
