"""Files, checkpoints, configs and random state: the only contact with the disk."""
