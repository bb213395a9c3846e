"""Pilotage: event-driven promotion for Azure Machine Learning."""
