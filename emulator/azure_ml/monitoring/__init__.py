"""Schedules and model monitors: when they fire, what a monitor computes, and how its runs are made.

`triggers.py` works out times, `firing.py` fires them in virtual time, `definition.py` reads a monitor's
definition and `pipeline.py` turns it into a run; the signals themselves are computed in the training
image (`emulator/images/training/model_monitor`).
"""
