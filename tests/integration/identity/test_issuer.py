"""Real signed tokens of the identity service, and notifications over the wire: as the app is configured by its environment."""

from __future__ import annotations

import pytest

from pilotage.credentials import credential
from pilotage.domain.access import Role
from pilotage.errors import Unauthenticated
from pilotage.identity import BearerIdentity
from pilotage.notify.webhook import WebhookNotifier
from pilotage.ports import Notification
from pilotage.settings import Settings
from tests.support.platform import LivePlatform

pytestmark = pytest.mark.xdist_group("sdk")


@pytest.fixture(scope="module")
def identity(settings: Settings) -> BearerIdentity:
    return BearerIdentity(settings.auth_issuer, settings.auth_audiences)


def test_people_are_known_by_object_id_roles_and_groups(identity: BearerIdentity, azure: LivePlatform) -> None:
    grace = identity.verify(f"Bearer {azure.user_token('grace')}")
    assert grace.object_id == "0b6d5f6e-8c1a-4a57-9d39-5d1e8f6a0004"
    assert grace.groups == ["ml-leads"]
    assert grace.has(Role.APPROVER)
    assert not grace.has(Role.OPERATOR)
    assert not identity.verify(f"Bearer {azure.user_token('rita')}").has(Role.APPROVER)


def test_the_scripts_token_has_every_role(identity: BearerIdentity, azure: LivePlatform) -> None:
    actor = identity.verify(f"Bearer {azure.env['PILOTAGE_TOKEN']}")
    assert all(actor.has(role) for role in Role)


def test_a_token_for_azure_itself_is_none_for_us(identity: BearerIdentity) -> None:
    token = credential().get_token("https://management.azure.com/.default").token
    with pytest.raises(Unauthenticated):
        identity.verify(f"Bearer {token}")


def test_a_token_changed_by_one_character_is_refused(identity: BearerIdentity, azure: LivePlatform) -> None:
    head, body, signature = azure.user_token("olive").split(".")
    changed = ("A" if signature[10] != "A" else "B").join((signature[:10], signature[11:]))
    with pytest.raises(Unauthenticated):
        identity.verify(f"Bearer {head}.{body}.{changed}")


def test_a_notification_arrives_as_it_was_sent(settings: Settings, azure: LivePlatform) -> None:
    assert settings.notify_webhook is not None
    note = Notification(kind="awaiting_approval", title="air-time:1 awaits approval", text="Gates passed: smoke", promotion="promote-1",
                        decision_url="https://p/api/approvals/promote-1/decision", link_token="a.b.c", facts={"plan": "sha256:00"})
    WebhookNotifier(settings.notify_webhook).send(note)
    assert Notification.model_validate(azure.mailbox("machines")[-1]) == note
