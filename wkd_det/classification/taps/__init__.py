"""Taps of classifiers: where terms read both networks."""
