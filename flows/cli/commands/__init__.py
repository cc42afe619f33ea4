"""The commands of ``jetlane``, a module per family; imported only when called."""
