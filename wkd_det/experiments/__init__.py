"""Comparisons of methods over seeds: spec, plan, runs, fingerprints, report and figures."""
