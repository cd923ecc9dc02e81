"""What this machine has, what of it may be used, and what our own processes need."""
