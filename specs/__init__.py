"""What a user asks for: the schema of a run, templates, examples, and the errors of all rooms."""
