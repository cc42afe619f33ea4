"""What a user asks for: the schema of a run, templates, examples, errors, and how files are read and written."""
