"""Sub-models whose package is not installed: the rest of the model is built around them.

Some of transformers' models hold another library's (timm's towers), or plan their layers with one
(scipy). Their constructors raise ImportError where it is missing. Such a sub-model stays in the tree
as an empty module, with the reason; everything beside it is built and counted as ever.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from traceback import walk_tb
from typing import Any

# the extras of this project that hold a package; `pip install "vlm-inspect[timm]"`
EXTRAS: Mapping[str, str] = {"pillow": "timm", "timm": "timm", "torchvision": "timm", "scipy": "scipy"}
# transformers' own sentence on what it misses, one for each package
_ADVICE = re.compile(r"pip install (-U )?([A-Za-z0-9][A-Za-z0-9_.-]*)")

Unbuilt = dict[type, str]
"""Classes that could not be built here, each with the reason."""


def build_without(construct: Callable[[], Any], unbuilt: Unbuilt | None = None) -> tuple[Any, Unbuilt]:
    """The model, and the classes of its parts that stayed empty because a package is missing.

    Raises the ImportError where it is the model's own, or would leave nothing that reads text.
    """
    known = unbuilt or {}
    try:
        with _emptied(known):
            return construct(), known
    except ImportError as error:
        part = _part_that_failed(error)
        if part is None or part in known:
            raise
        model, all_unbuilt = build_without(construct, {**known, part: reason(error)})
        if _reads_no_text(model):
            raise
        return model, all_unbuilt


def paths_of(modules: Iterable[tuple[str, Any]], unbuilt: Unbuilt) -> dict[str, str]:
    """The paths of the modules that stayed empty, with the reasons."""
    return {path: unbuilt[type(module)] for path, module in modules if type(module) in unbuilt}


def packages_in(error: ImportError) -> tuple[str, ...]:
    """The packages that an ImportError misses, by the names that pip knows."""
    named = [package for _, package in _ADVICE.findall(str(error))] or ([error.name] if error.name else [])
    return tuple(dict.fromkeys(named))


def reason(error: ImportError) -> str:
    """`needs timm and pillow: pip install "vlm-inspect[timm]"`."""
    packages = packages_in(error)
    if not packages:
        return "needs a package that is missing"
    if any(newer for newer, _ in _ADVICE.findall(str(error))):  # it is there, and too old
        return f"needs a newer {_named(packages)}: pip install -U {' '.join(packages)}"
    return f"needs {_named(packages)}: {install(packages)}"


def install(packages: tuple[str, ...]) -> str:
    """What to type to have these packages: this project's extra, where one holds them."""
    extras = dict.fromkeys(EXTRAS[package] for package in packages if package in EXTRAS)
    others = [package for package in packages if package not in EXTRAS]
    wanted = [f'"vlm-inspect[{",".join(extras)}]"'] if extras else []
    return f"pip install {' '.join([*wanted, *others])}"


def note(path: str, why: str) -> str:
    """The sentence for the user on a part that stayed empty."""
    matching = " (timm brings torchvision, which must match torch)" if "[timm" in why else ""
    return f"{path} was not built: it {why}{matching}. All other parts are exact."


def advice(error: ImportError) -> str:
    """What to do where the model as a whole needs what is missing."""
    packages = packages_in(error)
    return install(packages) if packages else "Install the package that is named, and ask again."


def _named(packages: tuple[str, ...]) -> str:
    return " and ".join(filter(None, (", ".join(packages[:-1]), packages[-1])))


def _part_that_failed(error: ImportError) -> type | None:
    """The innermost sub-model whose constructor raised; None where it was the model's own."""
    from transformers import PreTrainedModel

    building = [
        frame.f_locals.get("self")
        for frame, _ in walk_tb(error.__traceback__)
        if frame.f_code.co_name == "__init__"
    ]
    models = list(dict.fromkeys(type(each) for each in building if isinstance(each, PreTrainedModel)))
    return models[-1] if len(models) > 1 else None


@contextmanager
def _emptied(classes: Iterable[type]) -> Iterator[None]:
    """While this lasts, the constructors of these classes make modules with nothing in them."""
    from transformers import PreTrainedModel

    def empty(self: Any, config: Any, *_: Any, **__: Any) -> None:
        PreTrainedModel.__init__(self, config)
        PreTrainedModel.post_init(self)

    own = {each: each.__dict__.get("__init__") for each in classes}
    for each in own:
        each.__init__ = empty  # type: ignore[misc]
    try:
        yield
    finally:
        for each, constructor in own.items():
            if constructor is None:
                del each.__init__  # type: ignore[misc]
            else:
                each.__init__ = constructor  # type: ignore[misc]


def _reads_no_text(model: Any) -> bool:
    """Whether what reads text is among what stayed empty: then there is no answer worth giving."""
    try:
        return model.get_input_embeddings() is None
    except Exception:  # noqa: BLE001 - a model's own method: it fails where the part that it asks is empty
        return True
