"""The home's ledger as values: its lines, the list they come to, and how it is kept short. Pure."""
