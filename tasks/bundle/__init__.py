"""A release: everything a board needs, in one immutable folder named by its content."""
