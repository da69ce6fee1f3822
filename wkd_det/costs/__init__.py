"""Distances between classes: sources for losses, and their making from a trained network."""
