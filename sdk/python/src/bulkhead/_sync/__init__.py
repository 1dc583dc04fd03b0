"""The clients whose methods are not awaited, made from `_async` by `scripts/make_sync.py`."""
