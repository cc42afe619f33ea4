"""What every era of TensorRT shares: the module, its log, its plugins, and errors that quote the log."""

import collections
import sys
import warnings
from contextlib import contextmanager
from typing import Any, Callable, Deque, Iterator, List, Tuple

from ..errors import AgentError

#: TensorRT's severities: 0 internal error, 1 error, 2 warning, 3 information, 4 verbose.
WARNING, INFO = 2, 3
_LETTERS = "FEWIV"
_REFUSED_CACHE = "timing cache will not be used"
#: All that were made: TensorRT goes on writing to the first one, by a plain pointer, as long as the process lives.
_logs: List[Any] = []


def tensorrt() -> Any:
    """The board's tensorrt module."""
    try:
        import tensorrt as module
    except Exception as error:
        raise AgentError(
            "the board's tensorrt module does not import",
            str(error),
            "name in the inventory, as `python`, the interpreter that has it (on JetPack: python3)",
            "backend",
        )
    return module


def make_log(trt: Any) -> Any:
    """A logger for TensorRT.

    It keeps its latest lines, verbose ones apart, in ``rows`` as (severity, text); writes them to standard error, which
    is a build's log; and shows every line to ``listener``. ``timing_cache_refused`` is set when TensorRT says that it
    cannot read one. It never raises: in 8.0 to 8.2 that ends the process.
    """

    class Log(trt.ILogger):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.rows: Deque[Tuple[int, str]] = collections.deque(maxlen=4000)
            self.listener: Callable[[str], None] = lambda text: None
            self.timing_cache_refused = False

        def log(self, severity: Any, msg: Any) -> None:
            try:
                level, text = int(severity), str(msg)
                if level <= INFO:  # a build has many thousand verbose lines
                    self.rows.append((level, text))
                    sys.stderr.write("[TensorRT] %s: %s\n" % (_LETTERS[level], text))
                if _REFUSED_CACHE in text:  # a "Myelin error", and the build goes on
                    self.timing_cache_refused = True
                self.listener(text)
            except Exception:
                pass

    log = Log()
    _logs.append(log)
    return log


def last_words(log: Any) -> str:
    """The latest warnings and errors. ERROR lines come with success too: a returned value decides, these explain."""
    rows: List[str] = [text for severity, text in list(log.rows) if severity <= WARNING][-20:]
    return "TensorRT said:\n" + "\n".join(rows) if rows else "TensorRT said nothing"


def failure(log: Any, what: str, kind: str = "build", remedy: str = "") -> AgentError:
    """An error with the log's last words."""
    return AgentError(what, last_words(log), remedy, kind)


def start_plugins(trt: Any, log: Any) -> None:
    """Register TensorRT's plugins; needed before parsing and before loading, in every version."""
    if not trt.init_libnvinfer_plugins(log, ""):
        raise failure(log, "TensorRT's plugins do not load", "backend")


@contextmanager
def outdated_calls() -> Iterator[None]:
    """Calls that a version warns of, and has no other for what they do (implicit batch, calibrators)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield
