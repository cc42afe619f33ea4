"""All that runs on a board: Python 3.6 to 3.13, standard library and numpy. The workstation imports it too."""
