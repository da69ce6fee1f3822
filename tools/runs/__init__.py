"""Training runs as data: configs, folders, fingerprints and logs. Shared by demo and comparison."""
