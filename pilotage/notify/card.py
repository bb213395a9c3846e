"""The evidence card: what, why now, what the gates found, time and cost, and where to decide; as plain text, Markdown and HTML.

Names and messages come from models and their jobs, so a stranger may have written them: in every form they are text and
nothing else. They make no markup, no link, and call nobody. The link comes before the details: some channels cut what is long.
"""

from __future__ import annotations

import re
from html import escape

from pilotage.domain.assets import Frozen
from pilotage.ports import Notification

LONGEST = 120
"""Characters of a title."""
VALUE = 300
"""Characters of one value: a card is read on a phone."""

_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)+")
_CALLS = re.compile(r"@(?=(?:everyone|here|channel|all)\b)", re.IGNORECASE)
_LINKS = re.compile(r"(?<=\bhttp)(?=s?://)|(?<=\bwww)(?=\.)", re.IGNORECASE)
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff]+")
_MARKDOWN = re.compile(r"([\\`*_\[\]~|#])")
_ANGLES = {ord("<"): "\u2039", ord(">"): "\u203a"}
"""Quotation marks that look alike: no channel has another way to escape these."""
_BREAK = "\u200b"
"""A space without width: keeps chat programs from making a link or a call of a stranger's text."""


class Card(Frozen):
    """A card before it is written out; titles and texts are `plain`, the link is ours."""

    title: str
    why: str
    text: str
    link: tuple[str, str] | None
    """(what to do there, URL)"""
    sections: dict[str, dict[str, str]]
    """Heading -> label -> text."""

    def plain(self) -> str:
        blocks = [self.why, self.text, f"{self.link[0]}: {self.link[1]}" if self.link else ""]
        blocks += ["\n".join([f"{heading}:", *(f"- {label}: {text}" for label, text in lines.items())])
                   for heading, lines in self.sections.items()]
        return "\n\n".join(block for block in blocks if block)

    def markdown(self) -> str:
        blocks = [_marked(self.why), _marked(self.text), f"[{self.link[0]}]({self.link[1]})" if self.link else ""]
        blocks += ["\n".join([f"**{heading}**", "", *(f"- **{_marked(label)}:** {_marked(text)}" for label, text in lines.items())])
                   for heading, lines in self.sections.items()]
        return "\n\n".join(block for block in blocks if block)

    def html(self) -> str:
        blocks = [f"<p>{escape(text)}</p>" for text in (self.why, self.text) if text]
        if self.link:
            blocks.append(f'<p><a href="{escape(self.link[1])}">{escape(self.link[0])}</a></p>')
        for heading, lines in self.sections.items():
            items = "".join(f"<li><b>{escape(label)}:</b> {escape(text)}</li>" for label, text in lines.items())
            blocks.append(f"<h3>{escape(heading)}</h3><ul>{items}</ul>")
        return "\n".join(blocks)


def card(notification: Notification) -> Card:
    """The card of what is told."""
    what = "Look at it and decide" if notification.link_token else "Look at it"
    sections = {"What": notification.facts, "Gates": notification.gates, "Time and cost": notification.outlook}
    return Card(
        title=plain(notification.title, LONGEST), why=notification.why, text=plain(notification.text, 5 * VALUE),
        link=(what, notification.link) if notification.link else None,
        sections={heading: {plain(label, 60): plain(text) for label, text in lines.items()}
                  for heading, lines in sections.items() if lines})


def plain(text: str, limit: int = VALUE) -> str:
    """A stranger's text as one line that no channel takes for markup, a link, a call or an address."""
    shown = _EMAIL.sub("(address left out)", " ".join(_UNSEEN.sub(" ", text).split()))
    shown = _LINKS.sub(_BREAK, _CALLS.sub("@" + _BREAK, shown)).translate(_ANGLES)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def _marked(text: str) -> str:
    return _MARKDOWN.sub(r"\\\1", text)
