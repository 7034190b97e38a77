"""Several processes on one port: the parent that starts and restarts them, and what ties them to it."""
