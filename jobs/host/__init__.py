"""The processes of this machine: which one is meant, one of a kind, who stands still, what the scheduler published."""
