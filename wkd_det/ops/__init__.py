"""Arithmetic that belongs to no method: transport, grid cells, divergences, checks of arguments."""
