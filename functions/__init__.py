"""Triggers: one module per source. Each parses, decides the instance id, starts or signals, and returns."""
