"""The life of a job as values: records, states, the fold of a history, what follows a bad end, reasons. Pure."""
