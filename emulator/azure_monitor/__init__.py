"""Azure Monitor's metrics of online endpoints, computed from requests that were really scored and processes that really run."""

from emulator.azure_monitor.service import AzureMonitor

__all__ = ["AzureMonitor"]
