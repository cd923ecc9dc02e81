"""What to do, given what is known, and why. Pure; the same live and on paper."""
