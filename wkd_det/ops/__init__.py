"""Arithmetic that no method owns: transport, cells, divergences and the checks of arguments."""
