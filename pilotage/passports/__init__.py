"""Passports as files: taken out of the ledger, verified anywhere, explained to people."""
