"""What every front end calls: open a session, submit, control, find, query and follow jobs."""
