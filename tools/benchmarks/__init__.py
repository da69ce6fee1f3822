"""Bodies of ``tools/benchmark.py``, one file a sub-command."""
