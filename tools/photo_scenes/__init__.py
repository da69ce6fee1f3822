"""Photo scenes: random numbers, photographs, the layout of scenes, and what is written."""
