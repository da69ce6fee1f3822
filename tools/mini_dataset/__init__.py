"""Mini data set: the digits, the scenes that are drawn of them, and what is written."""
