"""Learning: losses, optimisers, schedules, metrics, and the trainer that takes one step after another. Pure."""
