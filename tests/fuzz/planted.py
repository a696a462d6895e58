"""Faults that are planted in the program, one after another, and what the fuzzer says of each.

A process of its own: what watches the cases stays in it.
"""

import json
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tools.fuzz import watch
from tools.fuzz.case import Case
from tools.fuzz.kinds import documents, settings
from tools.fuzz.seeds import snapshot_texts
from tools.fuzz.worker import Worker
from vlm_inspect.cli import show
from vlm_inspect.render import cells, comma_separated

NAME = "\x1b[31m<script>|=1"
CONFIG = json.dumps({"model_type": NAME, "architectures": [NAME]}).encode()
CASE = Case({"model/config.json": CONFIG}, (("show", "./model", "--builder", "config"),))


def divide():
    return 1 // 0


def write_elsewhere():
    Path("../elsewhere").write_text("x", encoding="utf-8")


def read_elsewhere():
    Path("../bait.json").read_text(encoding="utf-8")


def start():
    subprocess.run([sys.executable, "-c", ""], check=True)


def connect():
    with socket.socket() as one:
        one.settimeout(1)
        one.connect_ex(("127.0.0.1", 9))


def loop():
    ends = time.process_time() + 5
    while time.process_time() < ends:
        pass


def grow():
    b"x" * (1 << 30)  # more than was ever held and given back before


def leave():
    raise SystemExit(9)


def of_seeds(worker):
    """What becomes of the files that are changed, as long as nothing is."""
    beside = {"true.json": snapshot_texts()[0], "README.md": settings._README}  # noqa: SLF001
    table = ("table", "--write", "README.md", "--offline")
    for name, text in settings.SEEDS:
        yield name, worker.run("test", 0, Case({**beside, name: text}, (table,), ("README.md",))).outcome
    for number, text in enumerate(documents.SEEDS):
        files = {**beside, "vlm-inspect.toml": documents.SETTINGS, "README.md": text}
        yield f"README {number}", worker.run("test", 0, Case(files, (table,), ("README.md",))).outcome
    for number, text in enumerate(snapshot_texts()):
        case = Case({**beside, "a.json": text}, (("show", "a.json"),))
        yield f"snapshot {number}", worker.run("test", 0, case).outcome


ACTS = (divide, write_elsewhere, read_elsewhere, start, connect, loop, grow, leave)
PATIENCE = {loop: 1}
"""Seconds that an act is given. All others have the watch's own: what is not endless may still need long."""


def main():
    watch.MEMORY = 128 * 2**20
    usual = watch.SECONDS
    with tempfile.TemporaryDirectory() as home:
        worker = Worker(Path(home))
        found = {"nothing": worker.run("test", 0, CASE).faults, "seeds": dict(of_seeds(worker))}
        look_up = show.inspect_one
        for act in ACTS:
            watch.SECONDS = PATIENCE.get(act, usual)
            show.inspect_one = lambda *given, act=act: (act(), look_up(*given))[1]
            found[act.__name__] = worker.run("test", 0, CASE).faults
        watch.SECONDS, show.inspect_one = usual, look_up
        cells.visible.__code__ = (lambda value: value).__code__
        found["visible"] = worker.run("test", 0, CASE).faults
        comma_separated._guarded.__code__ = (lambda value: f"={value}").__code__  # noqa: SLF001
        words = ("table", *CASE.commands[0][1:], "--format", "csv")
        found["csv"] = worker.run("test", 0, Case(CASE.files, (words,))).faults
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main()
