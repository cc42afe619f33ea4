"""Readers of what labelling tools and data sets use, one file each: labels only, no image is opened."""
