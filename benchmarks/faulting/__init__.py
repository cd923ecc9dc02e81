"""The parts of `benchmarks.faults`: each measures one thing and answers with rows of the table."""
