"""The services of a home as a whole: which of them live, draining, and the doctor."""
