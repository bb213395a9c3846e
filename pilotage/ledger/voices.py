"""What people say around a decision: comments, delegations, refused attempts, and the review after a broken glass."""

from __future__ import annotations

import json

from pilotage.domain.canonical import canonical_json, short_hash
from pilotage.domain.delegation import Comment, Delegation, Refusal, Review
from pilotage.errors import Conflict
from pilotage.ledger.documents import create_first, read_json
from pilotage.ports import Records


class Voices:
    """All by create-only records: what was said stays said."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def comment(self, comment: Comment) -> bool:
        """True when it is new; the same words of the same person at the same time are one comment."""
        name = f"comments/{comment.promotion}/{comment.at}-{short_hash(comment.author, comment.text)}.json"
        return create_first(self._records, name, comment.model_dump(mode="json"))[1]

    def comments(self, promotion: str) -> list[Comment]:
        """Oldest first."""
        return [Comment.model_validate(value) for value in self._all(f"comments/{promotion}/")]

    def refuse(self, refusal: Refusal) -> None:
        """Keep a refused attempt. One of a kind a minute and person: nobody fills the ledger by trying."""
        name = f"refusals/{refusal.promotion}/{refusal.at[:16]}-{short_hash(refusal.actor, refusal.code, refusal.message)}.json"
        create_first(self._records, name, refusal.model_dump(mode="json"))

    def refusals(self, promotion: str) -> list[Refusal]:
        """Oldest first."""
        return [Refusal.model_validate(value) for value in self._all(f"refusals/{promotion}/")]

    def refused(self) -> list[str]:
        """Promotions of which attempts were refused."""
        return list(dict.fromkeys(name.split("/")[1] for name in self._records.names("refusals/")))

    def delegate(self, delegation: Delegation) -> bool:
        """True when it is new."""
        return create_first(self._records, f"delegations/{delegation.policy}/{delegation.id}.json", delegation.model_dump(mode="json"))[1]

    def end_delegation(self, policy: str, delegation: str, at: str) -> str:
        """Ends it now; returns when it ended (the first end stands)."""
        return str(create_first(self._records, f"delegations-ended/{policy}/{delegation}.json", {"at": at})[0]["at"])

    def delegations(self, policy: str) -> list[Delegation]:
        """Oldest first; each with the time at which it was ended early, if it was."""
        found = []
        for value in self._all(f"delegations/{policy}/"):
            delegation = Delegation.model_validate(value)
            ended = read_json(self._records, f"delegations-ended/{policy}/{delegation.id}.json")
            found.append(delegation.model_copy(update={"ended_at": ended["at"]}) if ended else delegation)
        return sorted(found, key=lambda item: (item.given_at, item.id))

    def break_glass(self, promotion: str, policy: str, by: list[str], review_by: str) -> None:
        """Note that the glass was broken: it is listed until it is reviewed."""
        create_first(self._records, f"glass/{policy}/{promotion}.json",
                     {"promotion": promotion, "policy": policy, "by": by, "review_by": review_by})

    def review(self, review: Review) -> Review:
        """The review after a broken glass: written once. Raises Conflict when another was given."""
        stored, created = create_first(self._records, f"reviews/{review.promotion}.json", review.model_dump(mode="json"))
        first = Review.model_validate(stored)
        if not created and (first.reviewer.casefold(), first.justified, first.reason) != (
                review.reviewer.casefold(), review.justified, review.reason):
            raise Conflict(f"{review.promotion} has been reviewed by {first.reviewer} at {first.at} already")
        return first

    def review_of(self, promotion: str) -> Review | None:
        stored = read_json(self._records, f"reviews/{promotion}.json")
        return Review.model_validate(stored) if stored is not None else None

    def reviews_due(self, policy: str | None = None) -> list[dict[str, object]]:
        """Broken glasses that nobody has reviewed: [{"promotion", "policy", "by", "review_by"}], oldest due first."""
        prefix = f"glass/{policy}/" if policy else "glass/"
        found = [value for value in self._all(prefix) if self.review_of(str(value["promotion"])) is None]
        return sorted(found, key=lambda value: (str(value["review_by"]), str(value["promotion"])))

    def use_form(self, nonce: str, about: dict[str, object]) -> None:
        """Use a form's ticket. Raises Conflict when it has been used for something else; the same again is one use."""
        stored, created = create_first(self._records, f"forms/{nonce}.json", about)
        if not created and canonical_json(stored) != canonical_json(about):
            raise Conflict("this form has been sent already: open the page again")

    def _all(self, prefix: str) -> list[dict[str, object]]:
        found = [self._records.read(name) for name in self._records.names(prefix)]
        return [json.loads(content) for content in found if content is not None]
