"""What operators ask the daemon over HTTP: whether it lives, whether it is ready, and its metrics."""
