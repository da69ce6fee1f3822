"""Places in a detector whose values a term compares."""
