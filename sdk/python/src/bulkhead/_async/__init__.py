"""The clients whose methods are awaited. `_sync` is made from these files: see `scripts/make_sync.py`."""
