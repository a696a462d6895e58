"""The measurement, the targets and the report of `make bench`."""

import subprocess
import sys
from pathlib import Path

import pytest

from tools.bench import __main__ as bench
from tools.bench.benchmarks import BENCHMARKS
from tools.bench.measure import Benchmark, Result, Run, measure, run
from tools.bench.workspace import PYTHON, ROOT, Workspace, hub_environment, serve_hub

# at least half a second of work, and another of waiting
BUSY = """
import time
x = b"x" * (1 << 28)
while time.process_time() < 0.5:
    pass
time.sleep(0.5)
"""
MEASURE_TWO = f"""
import pathlib, sys
from tools.bench.measure import run
from tools.bench.workspace import Workspace
workspace = Workspace(pathlib.Path(sys.argv[1]))
for program in ("", {BUSY!r}):
    print(*run([sys.executable, "-c", program], workspace.environment, workspace.empty))
"""


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "workspace")


def result(*, ours=1.0, floor=1.0, **targets):
    """Three pairs whose median is as given."""
    pairs = [(Run(ours * factor, ours, 0.5), Run(floor, floor, 0.1)) for factor in (0.5, 1.0, 20.0)]
    return Result("name", Benchmark("ours; floor", [], [], **targets), pairs)


def test_a_process_is_measured_from_start_to_exit(tmp_path):
    # in a small process, as in the benchmarks: a child is as large as its parent until it starts
    command = [sys.executable, "-c", MEASURE_TWO, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    (idle, waited, small), (busy, took, large) = (map(float, line.split()) for line in done.stdout.splitlines())
    assert 0 < idle < 0.5 <= busy
    assert waited > 0
    assert took >= 1
    assert large - small > 0.2


def test_a_process_with_an_unexpected_exit_code_is_an_error(workspace):
    with pytest.raises(subprocess.CalledProcessError):
        run([PYTHON, "-c", "raise SystemExit(3)"], workspace.environment, workspace.empty)
    assert run([PYTHON, "-c", "raise SystemExit(1)"], workspace.environment, workspace.empty, 1).wall > 0


def test_the_sides_alternate_each_in_a_fresh_environment(workspace, tmp_path):
    log = tmp_path / "log"
    program = f"import os; open({str(log)!r}, 'a').write(os.environ['WHICH'] + {{!r}})"
    numbers = iter(range(100))
    benchmark = Benchmark(
        "ours; floor",
        [PYTHON, "-c", program.format("ours ")],
        [PYTHON, "-c", program.format("floor ")],
        new_environment=lambda: {"WHICH": f"{next(numbers)}"},
    )
    assert len(measure("name", benchmark, 2, workspace).pairs) == 2
    assert log.read_text().split() == ["0ours", "1floor", "2ours", "3floor", "4floor", "5ours"]


def test_the_users_variables_do_not_reach_a_measured_process(workspace, monkeypatch):
    for name in ("HF_TOKEN", "HF_HUB_CACHE", "XDG_CACHE_HOME", "PYTHONDONTWRITEBYTECODE"):
        monkeypatch.setenv(name, "the user's")
    assert "the user's" not in workspace.environment.values()
    assert not list(workspace.empty.iterdir())


def test_the_ratio_is_that_of_the_median_pair():
    each = result(ours=3.0, floor=2.0, cpu_target=1.5, wall_target=1.5, memory_target=0.5)
    assert (each.ratio("cpu"), each.ratio("wall"), each.peak) == (1.5, 1.5, 0.5)
    assert bench.outcome(each) == "met"


@pytest.mark.parametrize(
    ("targets", "outcome"),
    [
        ({"cpu_target": 1.4}, "missed: CPU 1.50"),
        ({"wall_target": 1.4}, "missed: wall 1.50"),
        ({"memory_target": 0.4}, "missed: GiB 0.50"),
        ({"cpu_target": 1.4, "wall_target": 1.4}, "missed: CPU 1.50, wall 1.50"),
        ({}, "no target"),
    ],
)
def test_the_report_shows_each_missed_target(targets, outcome):
    each = result(ours=3.0, floor=2.0, **targets)
    assert bench.outcome(each) == outcome
    assert f" {outcome} |" in bench.page([each])


@pytest.mark.parametrize(("target", "code"), [(1.4, 1), (1.5, 0)])
def test_a_missed_target_is_an_exit_code_of_1(monkeypatch, capsys, target, code):
    monkeypatch.setattr(bench, "BENCHMARKS", {"name": lambda _: None})
    monkeypatch.setattr(bench, "measure", lambda *_: result(ours=3.0, floor=2.0, cpu_target=target))
    assert bench.main(["name"]) == code
    assert f"| name | **1.50** | {target:.2f} | 0.75 to 30.00 |" in capsys.readouterr().out


def test_an_unknown_benchmark_is_a_usage_error_that_lists_all(capsys):
    with pytest.raises(SystemExit) as raised:
        bench.main(["help", "no-such"])
    assert raised.value.code == 2
    message = capsys.readouterr().err
    assert "unknown benchmark no-such; choose from " in message
    assert all(name in message for name in BENCHMARKS)


def test_a_process_downloads_from_the_loopback_hub_into_an_empty_cache(workspace):
    folder = workspace.folder / "model"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    home = workspace.empty_cache()
    variables = hub_environment(serve_hub({"org/name": str(folder)}), home)
    program = "from huggingface_hub import hf_hub_download as get; print(get('org/name', 'config.json'))"
    path = workspace.run([PYTHON, "-c", program], **variables).decode().splitlines()[-1]
    assert Path(path).read_text() == "{}"
    assert path.startswith(home)
    assert not Path(workspace.empty_cache()).exists()


def test_a_printing_command_is_compared_with_a_table_of_as_many_rows(workspace):
    version = BENCHMARKS["version"](workspace)
    assert version.floor[-1] == "1"
    assert version.cpu_target == 1.5
