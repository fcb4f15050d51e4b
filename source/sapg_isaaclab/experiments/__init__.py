"""Evidence: learning studies without a simulator, and curves of several runs."""
