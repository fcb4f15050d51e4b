"""Training, playing and evaluating: everything around the agent. The public names are those of the modules."""
