"""The kinds of jobs: how each is checked before it is accepted, and how it is done."""
