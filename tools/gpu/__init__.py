"""What a quarter of an hour on a GPU is spent on; see `tools.gpu_run`."""
