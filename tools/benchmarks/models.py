"""What reads or builds models: every type, the built-in ones, some from a slow Hub, a checkpoint."""

from __future__ import annotations

from tools.benchmarks.hub import checkpoint, fresh_home, hub_of
from tools.benchmarks.measure import Benchmark
from tools.benchmarks.place import OURS, PYTHON, TOOLS, Place

BUILD = [PYTHON, str(TOOLS / "floors" / "build_models.py")]
_SECONDS_PER_REQUEST = 0.2


def every_type(place: Place) -> Benchmark:
    """One process for all multimodal types."""
    configs = place.configs("types")
    return Benchmark(
        name="every type",
        ours=[*OURS, "table", "--offline", "--no-cache", *configs],
        floor=[*BUILD, *configs],
        ours_does=f"`vlm-inspect table --no-cache` of {len(configs)} config.json, a row each",
        floor_does="imports transformers and builds the same classes on meta, in a loop",
        target=1.3,
        memory_target=1.5,
    )


def cold_table(place: Place) -> Benchmark:
    """The first question that a user asks: the built-in models, from a cold start and a warm Hub cache."""
    configs = place.configs("built-in")
    names = {config.rpartition("/")[2].replace("__", "/"): config for config in configs}
    online = hub_of(names).environment(place.environment["HF_HOME"])
    place.prepare([*OURS, "table", *names, "--builder", "config", "--no-cache"], **online)
    return Benchmark(
        name="cold table",
        ours=[*OURS, "table", "--offline", "--no-cache"],
        floor=[*BUILD, *configs],
        ours_does=f"`vlm-inspect table --offline --no-cache`: nine rows, {len(configs)} from the Hub's cache "
        "and one of which the catalogue states the headers",
        floor_does=f"imports torch and transformers and builds the same {len(configs)} classes on meta",
        target=1.10,
        wall_target=1.10,
    )


def slow_hub(place: Place) -> Benchmark:
    """Twenty models that are nowhere but on a Hub far away."""
    configs = place.configs("twenty")
    names = {f"org/{config.rpartition('/')[2]}": config for config in configs}
    hub = hub_of(names, seconds_per_request=_SECONDS_PER_REQUEST)
    return Benchmark(
        name="slow Hub",
        ours=[*OURS, "table", *names],
        floor=[*BUILD, *configs],
        ours_does=f"`vlm-inspect table` of {len(names)} models on a Hub that takes "
        f"{_SECONDS_PER_REQUEST * 1000:.0f} ms for each request, nothing cached",
        floor_does="imports torch and transformers and builds the same classes on meta, from local files",
        wall_target=1.25,
        fresh=lambda: hub.environment(fresh_home(place)),
    )


def verified(place: Place) -> Benchmark:
    """Whether a checkpoint of 700 tensors fits its model."""
    folder = checkpoint(place)
    return Benchmark(
        name="verify",
        ours=[*OURS, "verify", str(folder)],
        floor=[*BUILD, str(folder)],
        ours_does="`vlm-inspect verify` of a 7B model's folder",
        floor_does="imports torch and transformers and builds the same class on meta",
        target=1.2,
    )


def from_headers(place: Place) -> Benchmark:
    """A repo that is read from its headers alone, each time anew."""
    folder = checkpoint(place)
    hub = hub_of({"org/llava": str(folder)})
    return Benchmark(
        name="headers",
        ours=[*OURS, "table", "org/llava", "--builder", "header"],
        floor=[PYTHON, str(TOOLS / "floors" / "count_parameters.py"), "org/llava"],
        ours_does="`vlm-inspect table --builder header` of a 7B model on a Hub, nothing cached",
        floor_does="huggingface_hub's `get_safetensors_metadata` of the same repo, and the sum",
        target=1.5,
        fresh=lambda: hub.environment(fresh_home(place)),
    )
