"""What `inject_faults` injects."""
