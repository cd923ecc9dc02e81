"""What became of the time: utilisation, and the account of what crashes cost. Pure."""
