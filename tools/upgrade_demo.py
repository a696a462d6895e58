"""The transformers upgrade of 2026, heard of: snapshots under 5.5.4, checked under 5.6.0.

Between these two releases the parameter paths of 15 vision-language classes moved. The script builds an
environment for each, takes a snapshot of every image-text-to-text type that both can build from its
default config, and prints what `vlm-inspect check` says under the newer one.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = ("5.5.4", "5.6.0")
TORCH = "2.13.0"

# run inside each environment: a folder with a config.json per type, and the configuration that lists them
MAKE_TYPES = """
import json, pathlib, sys
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES as names
folder = pathlib.Path(sys.argv[1])
for model_type, classes in names.items():
    architecture = classes if isinstance(classes, str) else classes[0]
    (folder / model_type).mkdir(parents=True, exist_ok=True)
    config = {"model_type": model_type, "architectures": [architecture]}
    (folder / model_type / "config.json").write_text(json.dumps(config))
"""


def main() -> int:
    """Build what is missing, run both commands, and end as `check` does: with 1, since models changed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=ROOT / ".upgrade-demo")
    folder = parser.parse_args().folder
    old, new = (environment(folder, version) for version in VERSIONS)
    work = folder / "work"
    run(old, "-c", MAKE_TYPES, str(work))
    snapshots = work / "snapshots"
    types = sorted(path.parent.name for path in work.glob("*/config.json"))
    buildable = [name for name in types if builds(old, work, name)]
    both = [name for name in buildable if builds(new, work, name)]
    print(f"{len(both)} of {len(types)} types build from their default config in both.", flush=True)
    listed = "\n".join(f'[[models]]\nid = "./{name}"' for name in both)
    (work / "vlm-inspect.toml").write_text(f"{listed}\n", encoding="utf-8")
    inspect(old, work, "snapshot", "--prune", "--quiet", "--folder", str(snapshots))
    return inspect(new, work, "check", "--format", "terminal", "--folder", str(snapshots)).returncode


def environment(folder: Path, version: str) -> Path:
    """The Python of an environment with that transformers; built where there is none."""
    home = folder / f"transformers-{version}"
    python = home / "bin" / "python"
    if not (home / ".installed").exists():
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        wanted = (f"torch=={TORCH}", f"transformers=={version}", "--editable", str(ROOT))
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *wanted], check=True)
        (home / ".installed").touch()
    return python


def builds(python: Path, work: Path, name: str) -> bool:
    """Whether a type's default config builds there. All are asked in one process, the first time."""
    key = (python, work)
    if key not in _BUILT:
        answer = subprocess.run(
            [str(python), "-c", BUILD_ALL, str(work)], capture_output=True, text=True, check=True
        )
        _BUILT[key] = set(answer.stdout.split())
    return name in _BUILT[key]


_BUILT: dict[tuple[Path, Path], set[str]] = {}

BUILD_ALL = """
import pathlib, sys
import vlm_inspect
for config in sorted(pathlib.Path(sys.argv[1]).glob("*/config.json")):
    try:
        vlm_inspect.inspect(str(config.parent))
    except vlm_inspect.VlmInspectError:
        continue
    print(config.parent.name)
"""


def inspect(python: Path, work: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """`vlm-inspect` in one of the environments."""
    return subprocess.run([str(python), "-m", "vlm_inspect", *arguments], cwd=work, check=False)


def run(python: Path, *arguments: str) -> None:
    """A script in one of the environments."""
    subprocess.run([str(python), *arguments], check=True)


if __name__ == "__main__":
    sys.exit(main())
