"""Methods and pairs of ``tools/new_config.py``, the configs and the tables that it writes."""
