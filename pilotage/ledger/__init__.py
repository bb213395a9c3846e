"""The ledger: claims, evidence, votes and who owns what, in create-only records and rows with etags.

Everything here may be interrupted between any two writes and repeated; a repeat ends as one undisturbed
run would have. The stores themselves are ports (`Records`, `Rows`); `azure` has those of Azure Storage.
"""

from __future__ import annotations

from pilotage.clock import SystemClock
from pilotage.ledger.anchors import Anchors
from pilotage.ledger.approvals import Approvals, Wake
from pilotage.ledger.cards import Cards
from pilotage.ledger.channels import ChannelBook
from pilotage.ledger.claims import Claim, Claims
from pilotage.ledger.dead_letters import DeadLetter, dead_letters
from pilotage.ledger.endpoints import Acquired, Endpoints
from pilotage.ledger.gate_evidence import GateEvidence
from pilotage.ledger.incidents import Incidents
from pilotage.ledger.last_good import LastGood
from pilotage.ledger.passports import Passports
from pilotage.ledger.promotions import Promotions
from pilotage.ledger.rejected import Rejected, Rejection
from pilotage.ledger.voices import Voices
from pilotage.ledger.waivers import Waivers
from pilotage.ports import Clock, Records, Rows, Signer

__all__ = [
    "Acquired", "Anchors", "Approvals", "Cards", "ChannelBook", "Claim", "Claims", "DeadLetter", "Endpoints", "GateEvidence", "Incidents",
    "LastGood", "Ledger", "Passports", "Promotions", "Rejected", "Rejection", "Voices", "Waivers", "Wake", "dead_letters",
]


class Ledger:
    """All parts of the ledger over its stores. The clock only dates the outbox's markers.

    `markers` are deleted once their work is done, and so have a store of their own: evidence is kept where nothing can be deleted.
    """

    def __init__(self, records: Records, rows: Rows, clock: Clock | None = None, *, signer: Signer, markers: Records | None = None) -> None:
        clock, markers = clock or SystemClock(), markers or records
        self.claims = Claims(records, clock, markers)
        self.passports = Passports(records, signer)
        self.anchors = Anchors(markers, clock)
        self.promotions = Promotions(rows)
        self.approvals = Approvals(records, rows, clock, markers)
        self.endpoints = Endpoints(rows)
        self.last_good = LastGood(records)
        self.incidents = Incidents(records, rows)
        self.rejected = Rejected(records)
        self.gates = GateEvidence(records)
        self.waivers = Waivers(records)
        self.voices = Voices(records)
        self.cards = Cards(records)
        self.channels = ChannelBook(records, rows)
