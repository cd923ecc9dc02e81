"""The policy on paper: traces, generated loads and the queue as it stands, played through the same decisions."""
