"""Opening an experiment for a command: its settings, its run folder, and where to talk."""

from __future__ import annotations

import errno
import shlex
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contracts.errors import HarnessError, InputError, MissingDependencyError
from harness.cli.options import Asked

if TYPE_CHECKING:
    from rich.console import Console

    from harness.progress import Progress
    from harness.workflow.journey import Journey
    from harness.workflow.settings import Resolved

_KEPT = "is up to date"

_TRAINING_PACKAGES = frozenset({"onnxscript", "safetensors", "sklearn", "torch", "torch_pruning", "torchvision"})
"""The packages of the extra `train`, by the names they are imported under."""

_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM})
"""What a disk says that is full or not ours to write on."""


class InternalError(HarnessError):
    """A bug of ours; its traceback is in the log."""


@contextmanager
def opened(asked: Asked, asides: Mapping[str, Mapping[str, Any]] | None = None) -> Iterator[Journey]:
    """Open a journey: the settings are checked, the run folder is held, what is said goes to the log too.

    Args:
        asked: which experiment.
        asides: settings of this command alone, by section; they are not recorded in the run folder.

    Raises:
        InputError: a setting is wrong; nothing was written.
        InternalError: anything unforeseen; the log has the traceback.
    """
    from harness.workflow.context import Context
    from harness.workflow.journey import Journey
    from harness.workflow.run_folder import LOG, locked, log
    from harness.workflow.settings import record, resolve

    resolved = resolve(asked.experiment, asked.workspace, asked.overrides, asked.onnx)
    experiment = _with_asides(resolved, asides or {})
    console = stderr_console()
    folder = resolved.workspace

    def say(stage: str, sentence: str) -> None:
        log(folder, f"{stage}: {sentence}")
        if asked.verbosity > 0 or (asked.verbosity == 0 and not sentence.endswith(_KEPT)):
            console.print(f"{stage:<9}{sentence}", markup=False, highlight=False, soft_wrap=True)

    progress = progress_on(console, asked.verbosity)
    command = shlex.join(["harness", *sys.argv[1:]])
    context = Context(resolved.name, experiment, folder, asked.data_dir, progress, command, resolved.experiment)
    if asked.data_dir is not None:
        _ = context.source  # a wrong --data-dir is wrong even where nothing needs the images
    with locked(folder):
        taken_back = record(resolved)
        log(folder, f"begin: {command}")
        try:
            journey = Journey(context, say)
            yield journey
            if not journey.made and asked.verbosity == 0:
                console.print(f"everything in {folder} is up to date", markup=False, highlight=False, soft_wrap=True)
        except HarnessError as error:
            log(folder, f"error: {error}")
            if isinstance(error, InputError):
                taken_back()  # a setting that was refused must not be refused again without being asked for
            raise
        except KeyboardInterrupt:
            log(folder, "interrupted")
            raise
        except Exception as error:
            log(folder, traceback.format_exc())
            raise explained(error, folder / LOG) from error


def explained(error: Exception, log: Path) -> HarnessError:
    """Say what ended a command: a package that is not installed, a disk that is full, or else a bug of ours.

    Args:
        error: what escaped.
        log: the file that holds its traceback.
    """
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] in _TRAINING_PACKAGES:
        return MissingDependencyError(
            f"this needs {error.name}, which is not installed: install it with: "
            "pip install 'edge-robustness-harness[train]'"
        )
    if isinstance(error, OSError) and error.errno in _DISK:
        what = error.filename or "a file"
        return InputError(f"{what} cannot be read or written ({error.strerror}): make room or choose another place")
    return InternalError(
        f"this is a bug of the harness ({type(error).__name__}): please report it with the traceback in {log}"
    )


def _with_asides(resolved: Resolved, asides: Mapping[str, Mapping[str, Any]]) -> Any:
    from harness.workflow.settings import check

    values = resolved.experiment.model_dump(mode="json", exclude_none=True)
    for section, settings in asides.items():
        values.setdefault(section, {}).update({key: value for key, value in settings.items() if value is not None})
    return check(values, "command line")


def stderr_console() -> Console:
    """Return where talk goes: results alone go to standard output."""
    from rich.console import Console

    return Console(stderr=True)


def progress_on(console: Console, verbosity: int) -> Progress:
    """Return bars on a terminal, silence elsewhere."""
    from harness.progress import Silent, TerminalBars

    return TerminalBars(console) if console.is_terminal and verbosity >= 0 else Silent()
