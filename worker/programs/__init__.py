"""Programs that others wrote: started, spoken with, asked to stop, and ended with all that they started."""
