"""Build a model from the code in its own repo, in an isolated process and only if the user trusts it.

`process` starts a child process with limits, `child` runs in it, and `confine` isolates it before the repo's
code is imported. docs/security.md says what is promised and what is not.
"""
