"""What every attempt stands on: its process and limits, requests to stop, usage, log, numeric environment."""
