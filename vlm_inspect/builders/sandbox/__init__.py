"""Build a model from the code in its own repo: isolated, and only where the user asked for it.

`process` starts a child and holds it to limits, `child` is what runs there, `confinement` shuts it in
before the repo's code is imported. docs/security.md says what is promised and what is not.
"""

from vlm_inspect.builders.sandbox.process import Limits, RemoteCode, build

__all__ = ["Limits", "RemoteCode", "build"]
