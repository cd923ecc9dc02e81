"""The page and the interface on one port: what the command line does, for browsers and programs."""
