"""Pure decisions: no I/O, no clock, no settings. Standard library and pydantic only."""
