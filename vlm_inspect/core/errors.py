"""What can go wrong, as a tree.

::

    VlmInspectError                 message, hint (what to type next), model
    ├── InvalidReferenceError       MODEL is neither a Hub id nor a path
    ├── SourceError                 the model's description could not be had
    │   ├── ModelNotFoundError      no such repo, or a private one without a token
    │   ├── RevisionNotFoundError   the repo has no such branch, tag or commit
    │   ├── GatedModelError         the repo's licence was not accepted by this account
    │   ├── TokenError              the token is malformed, or the Hub does not know it
    │   ├── ConfigMissingError      there is no config.json
    │   ├── HubUnavailableError     no answer from the Hub: offline, unreachable, too busy
    │   ├── InvalidConfigError      the config.json is not a model's configuration
    │   ├── NoHeadersError          no safetensors file: names and shapes of its tensors are not to be had
    │   └── BadHeaderError          a safetensors header, or the index of the shards, breaks its format
    ├── BuildError                  there is a configuration, and no model came of it
    │   ├── NotNativeError          transformers itself has no class for it
    │   ├── UnbuildableConfigError  transformers' own class refuses the configuration
    │   ├── RemoteCodeError         the repo's own code was to be run, isolated, and gave no model
    │   ├── UnverifiableError       whether a checkpoint fits its model cannot be said
    │   └── BrokenEnvironmentError  a package that answers need does not work in this Python
    ├── WorkerError                 a model was given to another process, and no answer came back
    │   ├── WorkerDiedError         its process was killed
    │   ├── WorkerStartError        no process can be started
    │   └── PicklingError           it, or its result, cannot be sent between processes
    ├── SnapshotError               a snapshot file is damaged, or of another schema
    ├── SettingsError               pyproject.toml or vlm-inspect.toml says something unknown
    └── DocumentError               a file's markers are missing, doubled, crossed or unknown

The classes carry data. How they look is decided where they are printed.
"""

from __future__ import annotations


class VlmInspectError(Exception):
    """Base of every error that is not a bug of vlm-inspect."""

    def __init__(self, message: str, *, hint: str = "", model: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.model = model

    def __reduce__(self) -> tuple[object, ...]:
        """Survive pickling between processes, keyword fields included."""
        return _rebuild, (type(self), self.message, self.__dict__)


def _rebuild(kind: type[VlmInspectError], message: str, fields: dict[str, object]) -> VlmInspectError:
    error = kind(message)
    error.__dict__.update(fields)
    return error


class InvalidReferenceError(VlmInspectError):
    """MODEL is neither a Hub id nor a path."""


class SourceError(VlmInspectError):
    """The model's description could not be had."""


class ModelNotFoundError(SourceError):
    """No such repo, or a private one without a token: the Hub does not tell which."""


class RevisionNotFoundError(SourceError):
    """The repo has no such branch, tag or commit."""


class GatedModelError(SourceError):
    """The repo's licence was not accepted by the account whose token was sent, or none was sent."""


class TokenError(SourceError):
    """The token is malformed, or the Hub does not know it."""


class ConfigMissingError(SourceError):
    """There is no config.json."""


class HubUnavailableError(SourceError):
    """No answer from the Hub: offline, unreachable or too busy."""


class InvalidConfigError(SourceError):
    """The config.json is not a model's configuration."""


class NoHeadersError(SourceError):
    """There is no safetensors file, so names and shapes of the tensors are not to be had."""


class BadHeaderError(SourceError):
    """A safetensors header, or the index of the shards, breaks its format or a stated limit."""


class BuildError(VlmInspectError):
    """There is a configuration, and no model came of it."""


class NotNativeError(BuildError):
    """transformers itself has no class for the model: its answer comes from elsewhere."""

    def __init__(self, message: str, *, hint: str = "", model: str = "", short: str = "no class") -> None:
        super().__init__(message, hint=hint, model=model)
        self.short = short
        """The reason in a few words, for the cells that it leaves unknown."""


class UnbuildableConfigError(BuildError):
    """transformers' own class refuses the configuration."""


class RemoteCodeError(BuildError):
    """The repo's own code was to be run, isolated, and gave no model."""


class UnverifiableError(BuildError):
    """Whether a checkpoint fits the model that its configuration builds cannot be said."""


class BrokenEnvironmentError(BuildError):
    """A package that answers need (torch, transformers, huggingface_hub) does not work in this Python."""


class WorkerError(VlmInspectError):
    """A model was sent to another process, and no result came back."""


class WorkerDiedError(WorkerError):
    """The process that built a model was killed."""


class WorkerStartError(WorkerError):
    """Worker processes cannot be started."""


class PicklingError(WorkerError):
    """A model, or its result, cannot be sent between processes."""


class SnapshotError(VlmInspectError):
    """A snapshot file is damaged, or of another schema."""


class SettingsError(VlmInspectError):
    """A configuration file of vlm-inspect says something unknown."""


class DocumentError(VlmInspectError):
    """A file's markers are missing, doubled, crossed or unknown, or it cannot be written."""
