"""What needs no model to be built: what was answered before, differences of files, and plain text."""

from __future__ import annotations

from collections.abc import Mapping

from tools.benchmarks.hub import hub_of
from tools.benchmarks.measure import Benchmark, Command
from tools.benchmarks.place import OURS, PYTHON, TOOLS, Place

_FLOORS = TOOLS / "floors"
_MODEL = "llava-hf/llava-1.5-7b-hf"


def warm_table(place: Place) -> Benchmark:
    """A table that was asked for before."""
    command = [*OURS, "table", "--offline"]
    place.prepare(command)
    return _printing(place, "warm table", command, "`vlm-inspect table --offline`: nine rows, once more", 2.0)


def warm_show(place: Place) -> Benchmark:
    """A model that was asked for before."""
    command = [*OURS, "show", _MODEL, "--offline"]
    place.prepare(command)
    return _printing(place, "warm show", command, f"`vlm-inspect show {_MODEL} --offline`, once more", 1.7)


def warm_show_online(place: Place) -> Benchmark:
    """The same where the Hub is asked first at which commit the branch is."""
    (config,) = [each for each in place.configs("built-in") if each.endswith(_MODEL.replace("/", "__"))]
    online = hub_of({_MODEL: config}).environment(place.environment["HF_HOME"])
    command = [*OURS, "show", _MODEL]
    place.prepare(command, **online)
    does = f"`vlm-inspect show {_MODEL}`, once more: one request says at which commit the branch is"
    remark = "Most of it is the import of huggingface_hub's HTTP client; `--offline` and a commit do without."
    return _printing(place, "warm show, Hub asked", command, does, None, environment=online, remark=remark)


def diff_of_files(place: Place) -> Benchmark:
    """Two models that were looked at before."""
    models = [f"TIGER-Lab/Mantis-8B-{name}-llama3" for name in ("siglip", "clip")]
    place.prepare([*OURS, "snapshot", *models, "--offline", "--folder", str(place.folder)])
    files = map(str, sorted(place.folder.glob("*.json")))
    command = [*OURS, "diff", *files, "--format", "terminal"]
    return _printing(place, "diff", command, "`vlm-inspect diff` of two snapshot files", 1.5, ends_with=1)


def help_text(place: Place) -> Benchmark:
    """A question that needs no model."""
    return _printing(place, "help", [*OURS, "--help"], "`vlm-inspect --help`", 1.5)


def version_text(place: Place) -> Benchmark:
    """The least that can be asked."""
    return _printing(place, "version", [*OURS, "--version"], "`vlm-inspect --version`", 1.5)


def completion(place: Place) -> Benchmark:
    """A shell that asks what an option may be called."""
    typed = {
        "_VLM_INSPECT_COMPLETE": "complete_bash",
        "COMP_WORDS": "vlm-inspect table --kin",
        "COMP_CWORD": "2",
    }
    does = "bash completes `vlm-inspect table --kin`"
    return _printing(place, "completion", OURS, does, 1.5, environment=typed)


def usage_error(place: Place) -> Benchmark:
    """A command line that is wrong."""
    command = [*OURS, "table", "--frob"]
    return _printing(place, "usage error", command, "`vlm-inspect table --frob`", 1.5, ends_with=2)


def _printing(  # noqa: PLR0913 - what differs between the benchmarks, by name
    place: Place,
    name: str,
    command: Command,
    does: str,
    target: float | None,
    *,
    environment: Mapping[str, str] | None = None,
    remark: str = "",
    ends_with: int = 0,
) -> Benchmark:
    """What only prints, against a bare script that prints a table of as many rows."""
    lines = place.lines(command, environment)
    return Benchmark(
        name=name,
        ours=command,
        floor=[PYTHON, str(_FLOORS / "print_table.py"), str(lines)],
        typer=[PYTHON, str(_FLOORS / "print_table_as_command.py"), str(lines), "name"],
        ours_does=does,
        floor_does=f"imports typer and rich and prints a table of {lines} rows",
        target=target,
        remark=remark,
        ends_with=ends_with,
        fresh=lambda: environment or {},
    )
