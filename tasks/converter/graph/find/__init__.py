"""Find the parts of an SSD in a simplified graph by what feeds what, never by names."""
