"""Writers of data sets, one file a format: upright images of kinds that all tools read, and their boxes."""
