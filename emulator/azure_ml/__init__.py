"""Azure Machine Learning for the local platform: what the unmodified `azure-ai-ml` SDK talks to."""

from __future__ import annotations

from emulator.azure_ml.service import AzureMl

__all__ = ["AzureMl"]
