"""Bodies of ``tools/check_gpu.py``: one file per part, and what the parts share."""
