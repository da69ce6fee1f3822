"""Files, checkpoints, configs and random state."""
