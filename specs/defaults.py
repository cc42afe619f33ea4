"""Defaults that more than one module needs. It imports nothing, so that command lines can show them at once."""

#: Folder of everything that a run makes, in the current or the spec's own folder.
WORKSPACE = ".jetlane"
#: Newest releases that a device keeps.
KEEP_RELEASES = 3
