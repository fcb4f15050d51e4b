"""What a run leaves on disk: its folder, its checkpoints, its curves, and the statistics of them."""
