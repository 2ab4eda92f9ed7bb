"""Hold the attacks against those of pyautoattack, torchattacks, foolbox and the Adversarial Robustness Toolbox.

`python benchmarks/attacks.py [--images 1000] [--device cpu]`: the adversarially fine-tuned float CNN of the built-in
experiment `fashion-mnist`, its first test images, the same weights for everybody, their gradients off. It fine-tunes
the network where `--workspace` has none, which takes some minutes. All of it takes hours on two cores; finished pieces
are kept in `--folder`: a run that was stopped goes on where it was, and `--report-only` prints what there is.

Ours is the library call as its user writes it, with gradients (and what Square need not look at twice) in half
precision where the machine computes it: every success is confirmed in float32, by the attack itself and once more
here. The peers run in float32, as they do. Each side has its fastest batch and memory layout. What counts as robust is
decided here, the same way for all: a float32 pass over the final images, and what left the ball did not succeed.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

# A script finds modules in its own folder first, and this one has the name of a package of the project.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from benchmarks import attack_peers as peers
from benchmarks import attack_speed as speed
from benchmarks.attack_chunks import ATTACKS, Bench, finished, slots
from benchmarks.attack_claims import Found, pairs, pgd_claims, set_claims
from benchmarks.attack_subject import EXPERIMENT, Subject, digest, subject, weights_of
from benchmarks.attack_tables import claims_table, set_table, software, speed_table, write_page
from contracts.errors import HarnessError
from harness.devices.environment import environment

PAGE = Path("docs/measurements/attacks.md")
TABLES = ("pgd", "set")


def main() -> int:
    """Make what is missing, print, judge."""
    asked = _arguments().parse_args()
    import torch

    if asked.threads:
        torch.set_num_threads(asked.threads)
    if said := peers.how_to_install():
        print(said, file=sys.stderr)
    weights = weights_of(asked.workspace, make=not asked.report_only)
    place = f"{asked.device}-{torch.get_num_threads()}-threads"
    folder = asked.folder / digest(weights) / place
    given = subject(weights, asked.images, asked.device)
    load_before = os.getloadavg()[0]
    lines, claims = [software(environment())], list[Found]()
    for name in asked.tables:
        found, held = (_pgd if name == "pgd" else _set)(asked, given, folder)
        lines += ["", *found]
        claims += held
    lines += ["", *claims_table(claims)]
    lines[0] += f"; {torch.get_num_threads()} threads; load {load_before:.1f} before and {os.getloadavg()[0]:.1f} after"
    print("\n".join(lines))
    if asked.write:
        write_page(PAGE, " ".join(["python benchmarks/attacks.py", *sys.argv[1:]]), lines)
    return 0 if all(holds for *_, holds in claims) else 1


def _pgd(asked: argparse.Namespace, given: Subject, folder: Path) -> tuple[list[str], list[Found]]:
    """Return PGD's table and claims."""
    if asked.report_only:
        rows = speed.kept(folder, asked.epsilon, asked.images)
    else:
        rows = speed.measured(given, asked.epsilon, folder)
    return list(speed_table(rows)), list(pgd_claims(rows, asked.device))


def _set(asked: argparse.Namespace, given: Subject, folder: Path) -> tuple[list[str], list[Found]]:
    """Return the attack set's table and claims."""
    wanted = slots(asked.images, asked.chunk, asked.epsilon, asked.attacks)
    bench = Bench(given, folder, asked.batch, asked.chunk)
    if not asked.report_only:
        for piece in bench.make(wanted):
            print(
                f"{piece.start:>5}+{piece.images}  epsilon {piece.epsilon:g}  {piece.attack:<8}  {piece.who:<12}  "
                f"{len(piece.right) - len(piece.fooled)} robust, {piece.wall_s:.1f} s",
                file=sys.stderr,
            )
    pieces = finished(wanted, folder, bench.precision)
    rows = pairs(pieces)
    return list(set_table(rows, pieces, asked.images)), list(set_claims(rows, pieces, asked.device))


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000, help="the first so many of the test set")
    parser.add_argument("--epsilon", type=float, nargs="+", default=[0.05, 0.1])
    parser.add_argument("--chunk", type=int, default=250, help="images a piece of the attack set")
    parser.add_argument("--attacks", nargs="+", choices=ATTACKS, default=list(ATTACKS), help="of the set")
    parser.add_argument("--batch", type=int, help="of ours in the attack set; the fastest if left out")
    parser.add_argument("--workspace", type=Path, default=Path("build/attacks") / EXPERIMENT, help="the run folder")
    parser.add_argument("--folder", type=Path, default=Path("build/attacks"), help="where finished pieces are kept")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, help="of torch")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--report-only", action="store_true", help="print what is finished")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE}")
    return parser


if __name__ == "__main__":
    try:
        sys.exit(main())
    except HarnessError as error:
        sys.exit(str(error))
