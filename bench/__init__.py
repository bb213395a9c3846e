"""How fast, how big, how idle: `python -m bench`, or `python -m bench NAME`."""
