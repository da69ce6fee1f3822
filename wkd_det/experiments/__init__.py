"""Comparisons of methods over seeds: specs, runs, fingerprints, tables and figures."""
