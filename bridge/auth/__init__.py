"""Who clients are: tokens and what they claim."""
