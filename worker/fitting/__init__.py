"""From raw rows to a network that can be trained."""
