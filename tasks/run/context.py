"""What the steps of one run share: the spec, the workspace, the Object Detection API's process, the story so far."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Optional

from jetlane.specs.schema import RunSpec
from jetlane.tasks.run.facts import CACHED, FAILED, MADE, SKIPPED, StepFacts
from jetlane.tasks.run.observer import LoggingRunObserver, RunObserver
from jetlane.tasks.run.run_record import RunRecord
from jetlane.tasks.run.workspace import DamagedOutput, StepResult, Workspace

if TYPE_CHECKING:
    from jetlane.remote.fleet.observer import Observer
    from jetlane.remote.fleet.sites import Dispatch
    from jetlane.remote.release.shared_store import SharedStore
    from jetlane.tasks.odapi.client import OdapiChild

#: Describes a finished step in one line, from what it recorded.
Describe = Callable[[StepResult], str]


class Run:
    """One run; a context manager that ends the child process it may have started.

    Args:
        spec: Every path absolute.
        observer: Gets what the run does.
        force: A model the gate refuses is shipped all the same, and that is recorded.
        sites: Makes what brings work to other sites; see ``rollout.Listeners``.
        verify: Hash all that is found in the workspace, whenever that was done last.
        share: Makes a page reachable for a browser elsewhere, given the page and the workspace; returns its address.
        rollouts: Is told every event of the ledger while the release is brought to devices.

    Attributes:
        steps: The step table so far.
        results: Finished content-addressed steps by name.
        notes: Sentences for the report.
        mended: Those about what was found damaged, and made again.
        disagreement: Where it is kept what the converted model found, where that is not what the trained one finds.
        anchor_fit: How the network's anchors suit the data set; see ``RunFacts.anchor_fit``.
    """

    def __init__(
        self,
        spec: RunSpec,
        observer: Optional[RunObserver] = None,
        force: bool = False,
        sites: Optional[Callable[[SharedStore], Dispatch]] = None,
        verify: bool = False,
        share: Optional[Callable[[Path, Path], Optional[str]]] = None,
        rollouts: Optional[Observer] = None,
    ) -> None:
        self.spec = spec
        self.sites = sites
        self.share = share
        self.rollouts = rollouts
        self.observer = observer or LoggingRunObserver()
        self.force = force
        self._record = RunRecord(Path(spec.workspace.path), spec.name)
        self.workspace = Workspace(Path(spec.workspace.path), verify, self.mend, self._record.use)
        self.started = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self.steps: list[StepFacts] = []
        self.results: dict[str, StepResult] = {}
        self.notes: list[str] = []
        self.mended: list[str] = []
        self.disagreement: Optional[Path] = None
        self.anchor_fit: Mapping[str, Any] = {}
        self._clock = time.monotonic()
        self._stack = ExitStack()
        self._stack.enter_context(self._record)
        self._child: Optional[OdapiChild] = None

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    @property
    def changed(self) -> bool:
        """Whether anything was made or done; the report does not count."""
        return any(step.state in (MADE, FAILED) for step in self.steps if step.name != "report")

    @property
    def seconds(self) -> float:
        """Wall time since the run began."""
        return time.monotonic() - self._clock

    @property
    def python(self) -> str:
        """The interpreter with the Object Detection API."""
        return self.spec.train.python or sys.executable

    def odapi(self) -> OdapiChild:
        """The Object Detection API's process: started at first need, one for all steps of the run."""
        if self._child is None:
            from jetlane.tasks.odapi.client import OdapiChild

            log = self.workspace.folder("logs") / f"odapi-{self.started.replace(':', '')}.log"
            self._record.log(log.name)
            self._child = self._stack.enter_context(OdapiChild(self.python, log))
        return self._child

    def step(
        self,
        name: str,
        *,
        inputs: Mapping[str, str],
        params: Any,
        code: Sequence[str],
        make: Callable[[Path], Optional[Mapping[str, Any]]],
        describe: Describe,
        tools: Optional[Mapping[str, str]] = None,
        resumable: bool = False,
        leaves: bool = False,
    ) -> StepResult:
        """``Workspace.step``, reported to the observer and entered in the step table.

        Args:
            describe: Says in one line what was made.
            tools: Versions of the programs that make the outputs; part of the key.
        """
        if tools:
            inputs = {**inputs, "tools": ", ".join(f"{tool} {tools[tool]}" for tool in sorted(tools))}

        def making(out: Path) -> Optional[Mapping[str, Any]]:
            self.observer.started(name)
            return make(out)

        try:
            result = self.workspace.step(
                name, inputs=inputs, params=params, code=code, make=making, resumable=resumable, leaves=leaves
            )
        except DamagedOutput:  # this step is as it was: another one has to be made again first
            raise
        except Exception as error:
            self.record(StepFacts(name, FAILED, note=str(error).splitlines()[0] if str(error) else repr(error)))
            raise
        state = CACHED if result.cached else MADE
        self.results[name] = result
        self.record(StepFacts(name, state, result.seconds, result.key, describe(result), result.facts))
        return result

    def record(self, facts: StepFacts) -> None:
        """Enter a line in the step table."""
        self.steps.append(facts)
        self.observer.finished(facts)

    def ended(self, end: str) -> None:
        """Note how the run ended, as ``notify.ends`` has it."""
        self._record.ended(end)

    def skip(self, why: str, *names: str) -> None:
        """Steps that are no part of this run; the reason is for the reader."""
        for name in names:
            self.record(StepFacts(name, SKIPPED, note=why))

    def note(self, text: str) -> None:
        """A sentence for the terminal and the report."""
        self.notes.append(text)
        self.observer.note(text)

    def mend(self, text: str) -> None:
        """A note about what was damaged; it is part of the run's story."""
        self.mended.append(text)
        self.note(text)

    def start_over(self, damage: DamagedOutput) -> None:
        """Forget what was reported so far: a step that had been found has to be made again, and those after it."""
        self.steps.clear()
        self.results.clear()
        self.notes.clear()
        self.mend(f"{damage.what}: from the step that made it, everything is looked at again")
