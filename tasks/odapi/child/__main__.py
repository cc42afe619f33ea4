"""``python CHILD_FOLDER JOBS_FD EVENTS_FD``: serve jobs until the pipe of jobs closes."""

import importlib
import importlib.util
import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))
_NAME = "jetlane_odapi_child"


def _load_package() -> None:
    """Import this folder as a package of its own, with no folder on the path: nothing of ours shadows a library."""
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or os.getcwd()) != _HERE]
    spec = importlib.util.spec_from_file_location(
        _NAME, os.path.join(_HERE, "__init__.py"), submodule_search_locations=[_HERE]
    )
    if spec is None or spec.loader is None:
        raise ImportError(_HERE)
    package = importlib.util.module_from_spec(spec)
    sys.modules[_NAME] = package
    spec.loader.exec_module(package)


if __name__ == "__main__":
    _load_package()
    importlib.import_module(_NAME + ".server").serve(int(sys.argv[1]), int(sys.argv[2]))
