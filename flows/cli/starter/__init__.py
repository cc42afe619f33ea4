"""A first spec and a first inventory for a folder of labelled images: what `jetlane init` writes."""
