"""A short run finds nothing; planted faults are found; a number makes the same case again."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.fuzz.case import randomness
from tools.fuzz.kinds import KINDS

ROOT = Path(__file__).parents[2]


def run(*words):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def planted():
    done = run("-m", "tests.fuzz.planted")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_short_run_of_every_kind_finds_nothing(tmp_path):
    found = tmp_path / "found"
    done = run(
        "-m", "tools.fuzz", "--inputs", "400", "--jobs", "1", "--scripts", "2", "--findings", str(found)
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " inputs with seed 1 in " in done.stdout
    assert all(f"\n{kind} " in done.stdout for kind in KINDS)
    assert not found.exists()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("divide", "exit code 4:  in vlm-inspect"),
        ("write_elsewhere", "which no command names"),
        ("read_elsewhere", "which lies outside of the case's folder"),
        ("start", "subprocess.Popen"),
        ("connect", "socket.connect"),
        ("loop", "more than 1 s"),
        ("grow", "MiB"),
        ("leave", "exit code 9"),
        ("visible", "U+001B reaches the output"),
        ("csv", "a cell that a spreadsheet computes"),
    ],
)
def test_a_planted_fault_is_found(planted, fault, said):
    assert any(said in found for found in planted[fault]), planted[fault]


def test_without_a_fault_nothing_is_found(planted):
    assert planted["nothing"] == []


def test_what_is_changed_is_answered_as_long_as_it_is_not(planted):
    assert len(planted["seeds"]) > 10
    assert set(planted["seeds"].values()) == {"answered"}, planted["seeds"]


@pytest.mark.parametrize("kind", ["settings", "document", "name"])
def test_a_seed_and_a_number_make_the_same_case_again(kind):
    make = KINDS[kind].make
    assert [make(randomness(1, kind, n)) for n in range(20)] == [
        make(randomness(1, kind, n)) for n in range(20)
    ]
    assert make(randomness(1, kind, 0)) != make(randomness(2, kind, 0))


def test_a_run_has_100_000_inputs():
    assert sum(kind.share for kind in KINDS.values()) >= 100_000
