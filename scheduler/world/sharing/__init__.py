"""What each project has had of the machine, for fair share."""
