"""The parent: gives numbers to worker processes, watches that they live, and collects what they find."""

from __future__ import annotations

import multiprocessing as mp
import tempfile
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from tools.fuzz.case import keep
from tools.fuzz.watch import PATIENCE, most_memory
from tools.fuzz.worker import Result, Worker, cases, signature

_BLOCK = 50
_SILENCE = 5 * PATIENCE
"""Seconds after which a worker, which may have to start, is taken for hung beyond its own clock."""
_KEPT = 3
"""Cases that are kept of one sort of finding."""
_SHOWN_EVERY = 15.0
_READY = 0
"""What a worker says when it has started; later it says how many bytes it held at most."""

Block = tuple[str, int, int]
"""A kind, and the numbers from where to where."""


class WorkerNotStartedError(Exception):
    """No input is to blame: what the workers import does not work."""


@dataclass(slots=True)
class Tally:
    """What became of the inputs of one kind."""

    outcomes: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    slowest: tuple[float, int] = (0.0, 0)
    findings: int = 0

    def add(self, result: Result) -> None:
        """One input more."""
        self.outcomes[result.outcome] += 1
        self.seconds += result.seconds
        self.slowest = max(self.slowest, (result.seconds, result.number))
        self.findings += bool(result.faults)


@dataclass(slots=True)
class Summary:
    """A whole run."""

    seed: int
    tallies: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    findings: dict[str, list[Result]] = field(default_factory=lambda: defaultdict(list))
    most_memory: int = 0
    """Bytes that one worker held at most."""

    def add(self, result: Result, kept_in: Path) -> None:
        """One input more; a finding is kept as a case."""
        self.tallies[result.kind].add(result)
        if not result.faults:
            return
        of_this_sort = self.findings[signature(result)]
        of_this_sort.append(result)
        if len(of_this_sort) <= _KEPT:
            _keep(result, self.seed, kept_in)

    @property
    def inputs(self) -> int:
        """How many there were."""
        return sum(tally.outcomes.total() for tally in self.tallies.values())


@dataclass(slots=True)
class _Hand:
    """A worker process, and what it is at."""

    process: Any
    pipe: Connection
    block: Block
    heard: float
    at: int
    started: bool = False


def run(seed: int, counts: Mapping[str, int], kept_in: Path, *, jobs: int) -> Summary:
    """Run so many inputs of each kind, in so many processes."""
    summary, blocks = Summary(seed), deque(_blocks(counts))
    total, start, shown = sum(counts.values()), time.monotonic(), time.monotonic()
    hands: list[_Hand] = []
    with tempfile.TemporaryDirectory(prefix="fuzz-") as home:
        while blocks or hands:
            while blocks and len(hands) < jobs:
                hands.append(_started(seed, blocks.popleft(), Path(home)))
            for hand in _heard(hands, summary, kept_in):
                hands.remove(hand)
                blocks.extendleft(_left_over(hand))
            _give_work(hands, blocks)
            if time.monotonic() - shown > _SHOWN_EVERY:
                shown = time.monotonic()
                _tell(summary, total, shown - start)
    return summary


def _give_work(hands: list[_Hand], blocks: deque[Block]) -> None:
    """A block to each worker that has none, as long as there are any; the others go home."""
    for hand in [each for each in hands if each.block[1] < 0]:
        if blocks:
            _give(hand, blocks.popleft())
        else:
            hand.pipe.send(None)
            hand.process.join()
            hands.remove(hand)


def _left_over(hand: _Hand) -> Iterator[Block]:
    """What a worker that is gone had still to do."""
    if not hand.started:
        raise WorkerNotStartedError(f"a worker ended with {hand.process.exitcode} at its start")
    kind, _, stop = hand.block
    if hand.at + 1 < stop:
        yield kind, hand.at + 1, stop


def _blocks(counts: Mapping[str, int]) -> Iterator[Block]:
    """All numbers of all kinds, in blocks that take turns, so that each kind is seen early."""
    for first in range(0, max(counts.values(), default=0), _BLOCK):
        for kind, count in counts.items():
            if first < count:
                yield kind, first, min(first + _BLOCK, count)


def _started(seed: int, block: Block, home: Path) -> _Hand:
    ours, theirs = mp.Pipe()
    place = Path(tempfile.mkdtemp(dir=home))
    process = mp.get_context("spawn").Process(target=_work, args=(seed, place, theirs))
    process.start()
    theirs.close()
    hand = _Hand(process, ours, block, time.monotonic(), block[1] - 1)
    _give(hand, block)
    return hand


def _give(hand: _Hand, block: Block) -> None:
    hand.block, hand.at, hand.heard = block, block[1] - 1, time.monotonic()
    hand.pipe.send(block)


def _heard(hands: list[_Hand], summary: Summary, kept_in: Path) -> Iterator[_Hand]:
    """Take what the workers say; yields those that have ended, or had to be."""
    ready = wait([hand.pipe for hand in hands], timeout=1.0)
    for hand in list(hands):
        ended = False
        while hand.pipe in ready and not ended and hand.pipe.poll():
            ended = not _take(hand, summary, kept_in)
        if ended:
            hand.process.join()
            yield from _lost(hand, summary, kept_in, f"the process ended with {hand.process.exitcode}")
        elif hand.block[1] >= 0 and time.monotonic() - hand.heard > _SILENCE:
            hand.process.kill()
            hand.process.join()
            yield from _lost(hand, summary, kept_in, f"silent for {_SILENCE} s, and killed")


def _take(hand: _Hand, summary: Summary, kept_in: Path) -> bool:
    """One message; False where the worker is gone."""
    try:
        said = hand.pipe.recv()
    except (EOFError, OSError):
        return False
    hand.heard, hand.started = time.monotonic(), True
    if isinstance(said, Result):
        hand.at = said.number
        summary.add(said, kept_in)
    elif said != _READY:
        summary.most_memory = max(summary.most_memory, said)
        hand.block = (hand.block[0], -1, -1)
    return True


def _lost(hand: _Hand, summary: Summary, kept_in: Path, why: str) -> Iterator[_Hand]:
    """A worker that is gone, at the input that it was at."""
    kind, first, _ = hand.block
    if first >= 0:
        hand.at += 1
        summary.add(Result(kind, hand.at, "lost", 0.0, (why,)), kept_in)
    yield hand


def _work(seed: int, home: Path, pipe: Connection) -> None:
    """A worker process: block after block, until it is given none."""
    import logging

    logging.disable(logging.CRITICAL)
    worker = Worker(home)
    pipe.send(_READY)
    while (block := pipe.recv()) is not None:
        kind, first, stop = block
        for number, case in cases(seed, kind, range(first, stop)):
            pipe.send(worker.run(kind, number, case))
        pipe.send(most_memory())


def _keep(result: Result, seed: int, kept_in: Path) -> None:
    """The case as files: made again, as it follows from its three numbers."""
    (_, case) = next(cases(seed, result.kind, range(result.number, result.number + 1)))
    told = {
        "again": f"python -m tools.fuzz --seed {seed} --only {result.kind} --at {result.number}",
        "faults": list(result.faults),
        "trace": result.trace,
    }
    keep(case, kept_in / f"{result.kind}-{seed}-{result.number}", told)


def _tell(summary: Summary, total: int, seconds: float) -> None:
    found = sum(len(each) for each in summary.findings.values())
    print(
        f"{summary.inputs:,} of {total:,} inputs in {seconds:,.0f} s; {found} findings of "
        f"{len(summary.findings)} sorts",
        flush=True,
    )
