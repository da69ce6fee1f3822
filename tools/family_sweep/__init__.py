"""Parts of the command ``families.py``: a step of each family, plain and distilled."""
