"""The benchmarks' own arithmetic, on processes that take no time."""

import subprocess
import sys
from pathlib import Path

import pytest

from tools import bench
from tools.benchmarks import BENCHMARKS, light
from tools.benchmarks.growth import Grown, Growth
from tools.benchmarks.hub import fresh_home, hub_of
from tools.benchmarks.measure import Benchmark, Measured, Round, Run, measure, run
from tools.benchmarks.page import page, verdict
from tools.benchmarks.place import Place

ROOT = Path(__file__).parents[1]
# no less than half a second of work, and as much again of waiting
BUSY = """
import time
x = b"x" * (1 << 28)
while time.process_time() < 0.5:
    pass
time.sleep(0.5)
"""


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path / "place")


def benchmark(ours, floor, **more):
    return Benchmark("a name", (sys.executable, *ours), (sys.executable, *floor), "this", "that", **more)


def measured(*, ours=1.0, floor=1.0, typer=None, **targets):
    """Three rounds whose median is as stated."""
    rounds = [
        Round(Run(ours * by, ours, 0.5), Run(floor, floor, 0.1), Run(typer, typer, 0.1) if typer else None)
        for by in (0.5, 1.0, 20.0)
    ]
    return Measured(benchmark([], [], typer=("typer",) if typer else None, **targets), rounds)


MEASURE_TWO = f"""
import pathlib, sys
sys.path.insert(0, {str(ROOT)!r})
from tools.benchmarks.measure import run
from tools.benchmarks.place import Place
place = Place(pathlib.Path(sys.argv[1]))
for program in ("", {BUSY!r}):
    done = run([sys.executable, "-c", program], place.environment, place.empty)
    print(done.cpu, done.wall, done.peak)
"""


def test_a_process_is_measured_from_start_to_exit(tmp_path):
    # by a small process, as the benchmarks are: a child is as large as its parent until it starts
    command = [sys.executable, "-c", MEASURE_TWO, str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (idle, waited, small), (busy, took, large) = (map(float, line.split()) for line in said.splitlines())
    assert 0 < idle < 0.5 <= busy
    assert waited > 0
    assert took >= 1
    assert large - small > 0.2


def test_a_process_that_does_not_end_well_is_not_measured(place):
    with pytest.raises(subprocess.CalledProcessError):
        run([sys.executable, "-c", "raise SystemExit(3)"], place.environment, place.empty)
    assert run([sys.executable, "-c", "raise SystemExit(1)"], place.environment, place.empty, 1).wall > 0


def test_the_sides_run_in_turn_each_in_a_fresh_environment(place, tmp_path):
    seen = tmp_path / "seen"
    note = f"import os; open({str(seen)!r}, 'a').write(os.environ['WHICH'] + {{!r}})"
    counted = iter(range(100))
    two = benchmark(
        ["-c", note.format("ours ")],
        ["-c", note.format("floor ")],
        fresh=lambda: {"WHICH": f"{next(counted)}"},
    )
    assert len(measure(two, 2, place).rounds) == 2
    assert seen.read_text().split() == ["0ours", "1floor", "2ours", "3floor", "4floor", "5ours"]


def test_nothing_of_the_users_reaches_a_measured_process(place, monkeypatch):
    for name in ("HF_TOKEN", "HF_HUB_CACHE", "XDG_CACHE_HOME", "PYTHONDONTWRITEBYTECODE"):
        monkeypatch.setenv(name, "the user's")
    assert "the user's" not in place.environment.values()
    assert not list(place.empty.iterdir())


def test_the_ratio_is_the_median_rounds():
    each = measured(ours=3.0, floor=2.0, target=1.5, wall_target=1.5, memory_target=0.5)
    assert (each.ratio, each.wall_ratio, each.peak) == (1.5, 1.5, 0.5)
    assert verdict(each) == "holds"


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        ({"target": 1.4}, "missed: CPU 1.50"),
        ({"wall_target": 1.4}, "missed: wall 1.50"),
        ({"memory_target": 0.4}, "missed: GiB 0.50"),
        ({"target": 1.4, "wall_target": 1.4}, "missed: CPU 1.50, wall 1.50"),
        ({}, ""),
    ],
)
def test_each_missed_target_is_told(targets, said):
    each = measured(ours=3.0, floor=2.0, **targets)
    assert verdict(each) == said
    assert f" {said} |" in page([each], [])


def test_what_typer_alone_puts_out_of_reach_is_told_with_its_figure():
    beyond = measured(ours=4.0, floor=2.0, typer=3.6, target=1.5)
    assert beyond.out_of_reach
    assert verdict(beyond) == "missed: CPU 2.00; typer alone 1.80"
    assert not measured(ours=4.0, floor=2.0, typer=2.8, target=1.5).out_of_reach
    assert "| **2.00** | 1.50 | 1.00 to 40.00 | 1.80 | 1.11 | 0.50 GiB |" in page([beyond], [])


def grown(seconds, gigabytes):
    sizes = (10, 110, 1_110)
    runs = {size: Run(cpu, cpu, peak) for size, cpu, peak in zip(sizes, seconds, gigabytes, strict=True)}
    return Grown(Growth("growth", "a table"), runs)


def test_growth_is_what_each_further_model_costs():
    flat = grown([5.0, 15.0, 115.0], [0.25, 0.25, 0.25 + 50 / 1024])
    assert flat.seconds == [0.1, 0.1]
    assert flat.memory == pytest.approx([0.0, 0.05])
    assert verdict(flat) == "holds"
    assert "| growth | 110 to 1,110 | 100.0 ms | 0.050 MiB | 0.30 GiB | holds |" in page([measured()], [flat])


def test_growth_that_is_not_flat_is_a_missed_target():
    steep = grown([5.0, 15.0, 215.0], [0.25, 0.25, 0.75])
    assert verdict(steep) == "missed: seconds grow 2.00 times, 0.51 MiB each"


def test_a_benchmark_that_there_is_not_is_a_usage_error_that_names_those_that_there_are(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench", "growth", "no-such"])
    with pytest.raises(SystemExit) as raised:
        bench.main()
    assert raised.value.code == 2
    said = capsys.readouterr().err
    assert "there is no benchmark no-such; there are " in said
    assert all(name in said for name in (*BENCHMARKS, "growth"))


def test_a_hub_for_a_benchmark_is_asked_by_a_process_with_nothing_cached(place):
    folder = place.folder / "model"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    home = fresh_home(place)
    asked = hub_of({"org/name": str(folder)}).environment(home)
    program = "from huggingface_hub import hf_hub_download as get; print(get('org/name', 'config.json'))"
    done = place.said([sys.executable, "-c", program], asked, check=True)
    assert Path(done.stdout.decode().strip()).read_text() == "{}"
    assert done.stdout.decode().startswith(home)
    assert not Path(fresh_home(place)).exists()


def test_every_benchmark_is_a_function_of_a_place_with_a_docstring():
    assert all(function.__doc__ for function in BENCHMARKS.values())


def test_what_prints_is_held_against_a_table_of_as_many_rows(place):
    asked = light.version_text(place)
    assert asked.floor[-1] == "1"
    assert asked.target == 1.5
    assert asked.typer is not None
