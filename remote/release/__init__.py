"""A release as a folder: read, signed, kept in a store; and the two files that every release carries of jetlane."""
