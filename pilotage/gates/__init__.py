"""Gates: one module each (or a package, where there is much to measure), behind the interface of `interface.py`."""
