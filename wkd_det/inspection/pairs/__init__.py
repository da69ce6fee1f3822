"""A student and its teacher before training, as the command ``explain`` shows them."""
