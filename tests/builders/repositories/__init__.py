"""Layouts of published repositories with code of their own: configuration, tensor names and shapes, part sizes.

Each module has `CONFIG`, `SHAPES` and the `TOTAL` of its parameters; `PARTS` has the sizes of parts by role.
"""

import importlib
import pkgutil

LAYOUTS = {
    name: module
    for _, name, is_package in pkgutil.iter_modules(__path__)
    if name != "layout" and not is_package
    for module in (importlib.import_module(f"{__name__}.{name}"),)
    if hasattr(module, "SHAPES")
}
"""Name → module."""
