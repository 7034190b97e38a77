"""The pure core: what the configuration says, as values and functions without I/O, clock or log."""
