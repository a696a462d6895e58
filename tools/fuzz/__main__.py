"""`python -m tools.fuzz`: hostile inputs, by kind. Ends with 1 where something was found."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tools.fuzz.kinds import KINDS
from tools.fuzz.run import Summary, run
from tools.fuzz.sample import run_sample
from tools.fuzz.worker import Worker, cases

INPUTS = 110_000
SCRIPTS = 80


def main() -> int:
    """Run what was asked for, and say what came of it."""
    asked = _arguments()
    if asked.at is not None:
        return _again(asked.seed, asked.only[0], asked.at)
    kinds = asked.only or list(KINDS)
    shares = sum(KINDS[kind].share for kind in kinds)
    counts = {kind: max(1, round(asked.inputs * KINDS[kind].share / shares)) for kind in kinds}
    start = time.monotonic()
    summary = run(asked.seed, counts, asked.findings, jobs=asked.jobs)
    for result in run_sample(asked.seed, counts, asked.scripts, jobs=asked.jobs):
        summary.add(result, asked.findings)
    print(report(summary, time.monotonic() - start))
    return 1 if summary.findings else 0


def report(summary: Summary, seconds: float) -> str:
    """A table of the kinds, and what was found."""
    lines = [f"{'kind':<14} {'inputs':>8} {'findings':>8} {'mean ms':>8} {'slowest s':>9} (number)  outcomes"]
    for kind, tally in summary.tallies.items():
        count = tally.outcomes.total()
        told = ", ".join(f"{name} {number:,}" for name, number in tally.outcomes.most_common())
        slowest, number = tally.slowest
        lines.append(
            f"{kind:<14} {count:>8,} {tally.findings:>8} {1000 * tally.seconds / count:>8.1f} {slowest:>9.2f}"
            f" ({number:>6})  {told}"
        )
    lines.append(
        f"{summary.inputs:,} inputs with seed {summary.seed} in {seconds:,.0f} s; "
        f"at most {summary.most_memory / 2**20:,.0f} MiB in a process"
    )
    for name, results in sorted(summary.findings.items(), key=lambda each: -len(each[1])):
        numbers = ", ".join(str(result.number) for result in results[:5])
        lines.append(f"FOUND {len(results)} x {name}; numbers {numbers}")
    return "\n".join(lines)


def _again(seed: int, kind: str, number: int) -> int:
    """One input again, with all that it says."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as home:
        worker = Worker(Path(home))  # first: what it sets is read when libraries are imported
        (_, case) = next(cases(seed, kind, range(number, number + 1)))
        result = worker.run(kind, number, case)
    print(*case.commands, result.outcome, *result.faults, result.trace, sep="\n")
    return 1 if result.faults else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="Another seed makes other inputs.")
    parser.add_argument("--inputs", type=int, default=INPUTS, help="How many in all.")
    parser.add_argument("--only", choices=KINDS, action="append", help="Only this kind; again for more.")
    parser.add_argument("--at", type=int, help="Only the input of this number, of the one kind of --only.")
    parser.add_argument("--jobs", type=int, default=2, help="Processes.")
    parser.add_argument("--scripts", type=int, default=SCRIPTS, help="Cases run by the console script, too.")
    parser.add_argument(
        "--findings", type=Path, default=Path("fuzz-findings"), help="Folder for what is found."
    )
    asked = parser.parse_args()
    if asked.at is not None and len(asked.only or ()) != 1:
        parser.error("--at is the number of an input of one kind: --only KIND")
    return asked


if __name__ == "__main__":
    sys.exit(main())
