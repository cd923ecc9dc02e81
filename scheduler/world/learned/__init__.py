"""What jobs taught: how long they take, how often attempts die, how far running ones are, how they come. Pure."""
