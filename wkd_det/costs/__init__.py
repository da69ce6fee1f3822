"""Distances between classes: their sources, files and figures, and how a network gives them."""
