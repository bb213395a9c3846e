"""Killed at any point it goes on, and ends as it would have.

The law: die right after any one change that the whole run makes anywhere (a record, a row, an effect in Azure, a
message), before anything is remembered of it; whoever comes next repeats the activity that was under way. Then the
world is the same, no effect was made twice, and the ledger is the same to the byte; or, when the restart took its
time, the same but for times.
"""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from activities.registry import ACTIVITIES
from pilotage.bootstrap import use
from pilotage.domain.approval import Decision
from pilotage.errors import PilotageError
from pilotage.ledger import Ledger
from tests.support.fakes import Asset
from tests.support.hub import Work
from tests.support.memory import SIGNER, Countdown, Crash, Crashing
from tests.support.scene import ENDPOINT, PROD, Scene, everything_replays, live

Drive = Callable[[Scene], None]
"""Takes a scene from wherever it is to its end: people do their part once, however often it is called."""
DOWNTIME = timedelta(minutes=17)


# --- the stories ----------------------------------------------------------------------------------

def _vote_when_asked(scene: Scene, decision: Decision = Decision.APPROVE) -> None:
    """Grace votes as soon as she is asked; a scene that was asked before has her vote."""
    def asked() -> list[str]:
        return [row.id for row in scene.ledger.promotions.list(phase="awaiting_approval")
                if scene.ledger.approvals.current(row.id) is not None and not _votes(scene, row.id)]

    while True:
        scene.hub.run(lambda: bool(asked()))
        if not asked():
            return
        scene.vote(asked()[0], decision=decision, reason="seen")


def _votes(scene: Scene, promotion: str) -> list[Any]:
    wanted = scene.ledger.approvals.current(promotion)
    assert wanted is not None
    return scene.ledger.approvals.votes(wanted)


def _reject(scene: Scene) -> None:
    _vote_when_asked(scene, Decision.REJECT)


def _second(asset: Asset | None = None, before: Callable[[Scene], None] = lambda scene: None) -> Scene:
    """A second version whose promotion has just been accepted."""
    scene, _ = live("1")
    before(scene)
    scene.register("2", asset)
    scene.start("2")
    return scene


def _breach_at_ten_percent() -> Scene:
    scene, _ = live("1")
    scene.register("2")
    second = scene.start("2")
    scene.until_traffic(second, 10)
    scene.azure.answers[scene.green(second)] = 424
    return scene


def _rollback_of_a_live_version() -> Scene:
    scene, (first, second) = live("1", "2")
    scene.azure.remove(PROD, ENDPOINT, scene.green(first))
    scene.roll_back(second)
    return scene


def _rollback_in_a_bake() -> Scene:
    scene, _ = live("1")
    scene.register("2")
    second = scene.start("2")
    scene.until_traffic(second, 10)
    scene.roll_back(second)
    return scene


def _terminated_with_traffic() -> Scene:
    scene, _ = live("1")
    scene.register("2")
    second = scene.start("2")
    scene.until_traffic(second, 10)
    scene.hub.terminate(second)
    return scene


def _sweep(scene: Scene) -> None:
    second = scene.request("2").id
    if not any(instance.name == "sweep" for instance in scene.hub.durable.instances.values()):
        scene.sweep(second)
    scene.hub.run()


def _drifting() -> Scene:
    scene, _ = live("1")
    scene.alert()
    return scene


def _retrain(scene: Scene) -> None:
    """The job registers its version when it completes, and that version's event starts its promotion."""
    incident = next(key for key, instance in scene.hub.durable.instances.items() if instance.name == "drift")
    scene.hub.run(lambda: any(entry.step == "retraining.job" and entry.kind == "outcome" for entry in scene.entries(incident)))
    if scene.ledger.promotions.by_case(incident) is None:
        if not any(key[1:] == ("models", "air-time", "2") for key in scene.azure.assets):
            scene.register("2", Asset(tags={"pilotage.case": incident}))
        scene.start("2")
    _reject(scene)


@dataclass(frozen=True)
class Story:
    name: str
    begin: Callable[[], Scene]
    drive: Drive
    shows: Callable[[Scene], bool]
    """What must be true at its end, so that the law is about something."""


STORIES = [
    Story("a version goes live beside another", _second, _vote_when_asked, lambda scene: scene.phase(scene.request("2").id) == "succeeded"),
    Story("a gate stops it", lambda: _second(Asset(predict=lambda row: 0.0)), _vote_when_asked,
          lambda scene: scene.phase(scene.request("2").id) == "failed"),
    Story("people stop it", _second, _reject, lambda scene: scene.phase(scene.request("2").id) == "rejected"),
    Story("a breach is rolled back", _breach_at_ten_percent, _vote_when_asked,
          lambda scene: scene.phase(scene.request("2").id) == "rolled_back"),
    Story("blue is brought back", _rollback_of_a_live_version, _vote_when_asked,
          lambda scene: scene.traffic() == {scene.green(scene.request("1").id): 100}),
    Story("a bake is rolled back", _rollback_in_a_bake, _vote_when_asked,
          lambda scene: scene.phase(scene.request("2").id) == "rolled_back"),
    Story("what was terminated is swept", _terminated_with_traffic, _sweep,
          lambda scene: scene.traffic() == {scene.green(scene.request("1").id): 100}),
    Story("drift is retrained", _drifting, _retrain, lambda scene: any(change[0] == "begin" for change in scene.azure.changes)),
]


# --- dying ------------------------------------------------------------------------------------------

class _Everything:
    """Counts each change of one activity, wherever it is made, and dies right after the one that is asked for."""

    def __init__(self, scene: Scene, at: int) -> None:
        self._scene, self.count = scene, Countdown(at, before=False)

    def __enter__(self) -> Countdown:
        scene, count = self._scene, self.count
        scene.azure.watch = lambda: _die_at(count)
        ledger = Ledger(Crashing(scene.records, count), Crashing(scene.rows, count), scene.clock, signer=SIGNER)
        use(scene.app(ledger=ledger, notifier=_Dying(scene.notifier, count)))
        return count

    def __exit__(self, *_: object) -> None:
        self._scene.azure.watch = lambda: None


class _Dying:
    def __init__(self, notifier: Any, count: Countdown) -> None:
        self._notifier, self._count = notifier, count

    def names(self, wanted: list[str]) -> list[str]:
        return self._notifier.names(wanted)

    def send(self, notification: Any, channel: str) -> None:
        self._notifier.send(notification, channel)
        _die_at(self._count)


def _die_at(count: Countdown) -> None:
    if count.next():
        raise Crash


def _attempt(scene: Scene, work: Work, at: int) -> int:
    """Carry out an activity of which nobody will remember anything, up to its `at`-th change; how many it made."""
    with _Everything(scene, at) as count, contextlib.suppress(Crash, PilotageError):
        ACTIVITIES[work.name](work.input)
    return count.done


def _deaths(story: Story) -> Iterator[tuple[str, Scene]]:
    """(where, the scene as the death left it) for each change of the undisturbed run."""
    scene = story.begin()
    found: list[tuple[str, Scene]] = []
    seen: Counter[str] = Counter()

    def before(work: Work) -> None:
        seen[work.name] += 1
        made = _attempt(scene.fork(), work, 0)
        for at in range(1, made + 1):
            dead = scene.fork()
            _attempt(dead, work, at)
            found.append((f"{work.name} #{seen[work.name]}, change {at} of {made}", dead))

    scene.hub.before = before
    story.drive(scene)
    assert story.shows(scene), "the story did not happen"
    assert len(found) > 5
    yield from found


def _ledger(scene: Scene) -> dict[str, bytes]:
    """All records and rows; rows without what tells versions of a row apart."""
    return {**scene.records.contents, **{"/".join(key): value for key, (value, _, _) in scene.rows.contents.items()}}


_TIMES = re.compile(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00|sha256:[0-9a-f]{64}|retrainings? until [^ ]+|"value":"[\w-]{86}"'
                    r'|(?<=^promotions/)\d{17}')  # a row's key begins with the time of its promotion


def _timeless(scene: Scene) -> dict[str, str]:
    """The ledger without times, and without digests and signatures, which are of entries with times."""
    return {_TIMES.sub("-", name): _TIMES.sub("-", content.decode()) for name, content in _ledger(scene).items()}


def _told(scene: Scene) -> set[tuple[str, str]]:
    return {(message.kind, message.promotion) for message in scene.notifier.sent}


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_killed_after_any_change_it_ends_as_it_would_have(story: Story) -> None:
    whole = story.begin()
    story.drive(whole)
    for where, scene in _deaths(story):
        story.drive(scene)
        assert scene.azure.picture() == whole.azure.picture(), where
        assert scene.azure.changes == whole.azure.changes, f"{where}: an effect was made twice, or not at all"
        assert _ledger(scene) == _ledger(whole), where
        assert _told(scene) == _told(whole), where
        scene.sound()


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_a_restart_that_takes_its_time_changes_times_only(story: Story) -> None:
    whole = story.begin()
    story.drive(whole)
    for where, scene in list(_deaths(story))[::5]:
        scene.clock.advance(DOWNTIME)
        story.drive(scene)
        assert scene.azure.picture() == whole.azure.picture(), where
        assert Counter(scene.azure.changes) == Counter(whole.azure.changes), where
        assert _timeless(scene) == _timeless(whole), where
        scene.sound()


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_every_story_replays(story: Story) -> None:
    scene = story.begin()
    story.drive(scene)
    everything_replays(scene)
    scene.sound()
