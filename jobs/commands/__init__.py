"""The client's commands, one click command each. Answers on stdout, talk on stderr."""
