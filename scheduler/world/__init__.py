"""What the scheduler knows. Pure."""
