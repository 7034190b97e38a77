"""Decides, purely: compiled rules and the plans made from them. No I/O, clock or logger."""
