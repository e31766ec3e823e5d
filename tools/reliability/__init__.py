"""What is done to runs, pictures and files to see what survives it."""
