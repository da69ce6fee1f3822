"""Kernels written in Triton that do in one launch what plain PyTorch does in many."""
