"""The steps of a run, a file for each; what they do is in the packages beside them."""
