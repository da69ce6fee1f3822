"""Bodies of ``tools/benchmark.py``, one file per sub-command."""
