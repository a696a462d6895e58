"""The benchmarks' own arithmetic, on processes that take no time."""

import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[1] / "tools"
BUSY = "sum(range(3_000_000))"


@pytest.fixture
def tools(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    import bench
    import benchmarks
    import measure

    yield bench, benchmarks, measure
    for name in ("bench", "benchmarks", "measure"):
        sys.modules.pop(name)


def benchmark(measure, ours, floor, **targets):
    return measure.Benchmark(
        "a name", (sys.executable, *ours), (sys.executable, *floor), "this", "that", **targets
    )


MEASURE_TWO = f"""
import pathlib, sys
sys.path.insert(0, {str(TOOLS)!r})
import measure
environment = measure.clean_environment(pathlib.Path(sys.argv[1]))
for program in ("", "x = b'x' * (1 << 28); {BUSY}"):
    run = measure.run([sys.executable, "-c", program], environment)
    print(run.cpu, run.peak)
"""


def test_a_process_is_measured_from_start_to_exit(tmp_path):
    # by a small process, as the benchmarks are: a child is as large as its parent until it starts
    command = [sys.executable, "-c", MEASURE_TWO, str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (idle, small), (busy, large) = (map(float, line.split()) for line in said.splitlines())
    assert 0 < idle < busy
    assert large - small > 0.2


def test_a_process_that_does_not_end_well_is_not_measured(tools, tmp_path):
    _, _, measure = tools
    with pytest.raises(subprocess.CalledProcessError):
        measure.run([sys.executable, "-c", "raise SystemExit(3)"], measure.clean_environment(tmp_path))


def test_a_missed_target_is_told_in_the_table(tools, tmp_path):
    bench, _, measure = tools
    slow = benchmark(measure, ["-c", BUSY], ["-c", ""], target=1.0)
    measured = measure.measure(slow, 2, measure.clean_environment(tmp_path))
    assert len(measured.pairs) == 2
    assert measured.ratio > 1
    assert not measured.holds
    assert "1.00, missed" in bench.report([measured])


def test_too_much_memory_is_a_missed_target(tools, tmp_path):
    _, _, measure = tools
    large = benchmark(measure, ["-c", ""], ["-c", ""], target=100.0, memory_target=0.001)
    assert not measure.measure(large, 1, measure.clean_environment(tmp_path)).holds


def test_every_benchmark_is_a_function_of_a_folder_with_a_docstring(tools):
    _, benchmarks, _ = tools
    assert all(function.__doc__ for function in benchmarks.BENCHMARKS.values())
    assert benchmarks.help_text(None).target == 1.5
