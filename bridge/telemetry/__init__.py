"""What the daemon tells its operators: metrics and logs."""
