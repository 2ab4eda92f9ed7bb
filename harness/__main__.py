"""The command `harness`: hands over to the commands and turns every ending into a sentence and an exit code."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from pathlib import Path

import click

from contracts.errors import DONE, INTERRUPTED, HarnessError
from harness import __version__
from harness.cli import build, doctor, eval, measure, quantize, report, run, stage, study
from harness.cli.opening import explained
from harness.waiting import wait_briefly


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="harness")
def harness() -> None:
    """Build deployed engines of compressed vision models, and prove how accurate, robust, fast and small they are.

    EXPERIMENT is a built-in name (digits, fashion-mnist, fashion-mnist-pruned, cifar10) or a TOML file; left out, it is
    harness.toml in the current folder, else digits.
    """


for _command in (
    run.run,
    stage.train,
    stage.prune,
    quantize.quantize,
    stage.finetune,
    stage.export,
    build.build,
    eval.evaluate,
    measure.measure,
    report.report,
    study.study,
    doctor.doctor,
):
    harness.add_command(_command)


def main() -> None:
    """Run the command line and end the process with the right exit code."""
    wait_briefly()
    # CUDA would count the fastest GPU first, and NVML, whose memory and clocks are read beside it, by their slots.
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    try:
        harness.main(standalone_mode=False)
        code = DONE
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted: run the same command again to go on where it stopped", err=True)
        # Runtimes' threads can keep the interpreter from ending for seconds; everything on disk is whole already.
        sys.stdout.flush()
        os._exit(INTERRUPTED)
    except HarnessError as error:
        click.echo(f"error: {error}", err=True)
        code = error.exit_code
    except BrokenPipeError:
        os._exit(DONE)
    except Exception as error:
        log = Path(tempfile.mkstemp(prefix="harness-", suffix=".log")[1])
        log.write_text(traceback.format_exc(), encoding="utf-8")
        found = explained(error, log)
        click.echo(f"error: {found}", err=True)
        code = found.exit_code
    sys.exit(code)


if __name__ == "__main__":
    main()
