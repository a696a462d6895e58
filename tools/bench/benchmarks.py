"""The benchmarks, in the order of the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from tools.bench.measure import Benchmark
from tools.bench.workspace import PYTHON, Workspace, hub_environment, serve_hub

OURS = str(Path(PYTHON).with_name("vlm-inspect"))
"""The installed command, as users start it."""
_FLOORS = Path(__file__).parent / "floors"
_BUILD = (PYTHON, str(_FLOORS / "build_models.py"))
_MODEL = "llava-hf/llava-1.5-7b-hf"
_SECONDS_PER_REQUEST = 0.2
_COMPLETION = {
    "_VLM_INSPECT_COMPLETE": "complete_bash",
    "COMP_WORDS": "vlm-inspect table --kin",
    "COMP_CWORD": "2",
}


def cold_table(workspace: Workspace) -> Benchmark:
    """The built-in models without cached results, with the Hub's cache filled."""
    folders = workspace.models("built-in")
    names = {folder.rpartition("/")[2].replace("__", "/"): folder for folder in folders}
    hub = hub_environment(serve_hub(names), workspace.environment["HF_HOME"])
    workspace.run([OURS, "table", *names, "--builder", "config", "--no-cache"], **hub)
    return Benchmark(
        f"`table --offline --no-cache` of {len(folders) + 1} models; build {len(folders)} of them on meta",
        [OURS, "table", "--offline", "--no-cache"],
        [*_BUILD, *folders],
        cpu_target=1.10,
        wall_target=1.10,
    )


def slow_hub(workspace: Workspace) -> Benchmark:
    """Twenty models on a slow Hub, without anything cached."""
    folders = workspace.models("twenty")
    names = {f"org/{folder.rpartition('/')[2]}": folder for folder in folders}
    url = serve_hub(names, seconds_per_request=_SECONDS_PER_REQUEST)
    return Benchmark(
        f"`table` of 20 models on a Hub with {_SECONDS_PER_REQUEST} s a request; build them from local files",
        [OURS, "table", *names],
        [*_BUILD, *folders],
        wall_target=1.25,
        new_environment=lambda: hub_environment(url, workspace.empty_cache()),
    )


def every_type(workspace: Workspace) -> Benchmark:
    """All multimodal types in one process."""
    folders = workspace.models("types")
    return Benchmark(
        f"`table --offline --no-cache` of {len(folders)} local configurations; build them on meta",
        [OURS, "table", "--offline", "--no-cache", *folders],
        [*_BUILD, *folders],
        cpu_target=1.3,
        memory_target=1.5,
    )


def verify(workspace: Workspace) -> Benchmark:
    """The verification of a checkpoint with 700 tensors."""
    (folder,) = workspace.models("checkpoint")
    command = [OURS, "verify", folder]
    return Benchmark("`verify` of a 7B model's folder; build it on meta", command, [*_BUILD, folder], cpu_target=1.2)


def headers(workspace: Workspace) -> Benchmark:
    """A model that is read from its headers on the Hub, without anything cached."""
    url = serve_hub({"org/llava": workspace.models("checkpoint")[0]})
    return Benchmark(
        "`table --builder header` of a 7B model on a Hub; `get_safetensors_metadata` and a sum",
        [OURS, "table", "org/llava", "--builder", "header"],
        [PYTHON, str(_FLOORS / "count_parameters.py"), "org/llava"],
        cpu_target=1.5,
        new_environment=lambda: hub_environment(url, workspace.empty_cache()),
    )


def warm_show_online(workspace: Workspace) -> Benchmark:
    """A cached model whose branch is resolved on the Hub; most of it is the import of the HTTP client."""
    (folder,) = (each for each in workspace.models("built-in") if each.endswith(_MODEL.replace("/", "__")))
    hub = hub_environment(serve_hub({_MODEL: folder}), workspace.environment["HF_HOME"])
    return _printing("show", _MODEL, target=None, environment=hub)(workspace)


def diff(workspace: Workspace) -> Benchmark:
    """The difference of two snapshot files."""
    models = [f"TIGER-Lab/Mantis-8B-{name}-llama3" for name in ("siglip", "clip")]
    workspace.run([OURS, "snapshot", *models, "--offline", "--folder", str(workspace.empty)])
    before, after = sorted(workspace.empty.glob("*.json"))
    before.rename(workspace.empty / "before.json")
    after.rename(workspace.empty / "after.json")
    arguments = ("diff", "before.json", "after.json", "--format", "terminal")
    return _printing(*arguments, target=1.5, exit_code=1)(workspace)


def _printing(
    *arguments: str,
    target: float | None,
    environment: Mapping[str, str] | None = None,
    exit_code: int = 0,
) -> Callable[[Workspace], Benchmark]:
    """A command that only prints, compared with a script that prints a table of as many rows."""

    def benchmark(workspace: Workspace) -> Benchmark:
        command = [OURS, *arguments]
        variables = environment or {}
        workspace.run(command, check=False, **variables)  # fill the cache
        lines = len(workspace.run(command, check=False, **variables).splitlines())
        return Benchmark(
            f"`{' '.join(arguments) or variables['COMP_WORDS']}`; print a table of {lines} rows",
            command,
            [PYTHON, str(_FLOORS / "print_table.py"), str(lines)],
            cpu_target=target,
            exit_code=exit_code,
            new_environment=lambda: variables,
        )

    return benchmark


BENCHMARKS: Mapping[str, Callable[[Workspace], Benchmark]] = {
    "cold-table": cold_table,
    "slow-hub": slow_hub,
    "every-type": every_type,
    "verify": verify,
    "headers": headers,
    "warm-table": _printing("table", "--offline", target=2.0),
    "warm-show": _printing("show", _MODEL, "--offline", target=1.7),
    "warm-show-online": warm_show_online,
    "diff": diff,
    "help": _printing("--help", target=1.5),
    "version": _printing("--version", target=1.5),
    "completion": _printing(target=1.5, environment=_COMPLETION),
    "usage-error": _printing("table", "--frob", target=1.5, exit_code=2),
}
