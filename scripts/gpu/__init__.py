"""What `gpu_session` measures and runs."""
