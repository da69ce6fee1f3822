"""What can be known of a student and its teacher before training: the command ``explain``."""
