"""The errors of vlm-inspect; `cli` prints them."""

from __future__ import annotations


class VlmInspectError(Exception):
    """Base class of all errors that are not a bug of vlm-inspect."""

    def __init__(self, message: str, *, hint: str = "", model: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.model = model

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the keyword fields, too."""
        return _rebuild, (type(self), self.message, self.__dict__)


def _rebuild(kind: type[VlmInspectError], message: str, fields: dict[str, object]) -> VlmInspectError:
    error = kind(message)
    error.__dict__.update(fields)
    return error


class InvalidReferenceError(VlmInspectError):
    """MODEL is neither a Hub id nor a path."""


class InvalidOptionError(VlmInspectError):
    """An option has a value of the wrong type, or one that it cannot have."""


class SourceError(VlmInspectError):
    """The model's files cannot be loaded."""


class ModelNotFoundError(SourceError):
    """The Hub has no such repo, or it is private; the Hub does not distinguish the two."""


class RevisionNotFoundError(SourceError):
    """The repo has no such branch, tag or commit."""


class GatedModelError(SourceError):
    """The account of the token has no access to a gated repo, or there is no token."""


class TokenError(SourceError):
    """The token is malformed, or the Hub rejects it."""


class ConfigMissingError(SourceError):
    """There is no config.json."""


class HubUnavailableError(SourceError):
    """The Hub does not respond: offline, unreachable or overloaded."""


class InvalidConfigError(SourceError):
    """The config.json is not a model's configuration."""


class NoHeadersError(SourceError):
    """There is no safetensors file, so names and shapes of the tensors are not available."""


class BadHeaderError(SourceError):
    """A safetensors header or index is malformed or exceeds a limit."""


class BuildError(VlmInspectError):
    """The model cannot be built from its configuration."""


class NotNativeError(BuildError):
    """transformers has no class for the model; another builder is needed."""

    def __init__(self, message: str, *, hint: str = "", model: str = "", short: str = "no class") -> None:
        super().__init__(message, hint=hint, model=model)
        self.short = short
        """The reason in a few words, for table cells."""


class UnbuildableConfigError(BuildError):
    """transformers' class rejects the configuration."""


class RemoteCodeError(BuildError):
    """The repo's code was run in the sandbox, and built no model."""


class UnverifiableError(BuildError):
    """A checkpoint cannot be compared with the model that its configuration builds."""


class BrokenEnvironmentError(BuildError):
    """A required package (torch, transformers, huggingface_hub) does not work in this Python."""


class WorkerError(VlmInspectError):
    """A model was sent to another process, and no result came back."""


class WorkerDiedError(WorkerError):
    """The process that built a model was killed."""


class WorkerStartError(WorkerError):
    """Worker processes cannot be started."""


class PicklingError(WorkerError):
    """A model, or its result, cannot be sent between processes."""


class SnapshotError(VlmInspectError):
    """A snapshot file is damaged, or has another schema."""


class SettingsError(VlmInspectError):
    """A configuration file of vlm-inspect is invalid."""


class DocumentError(VlmInspectError):
    """A file's markers are missing, duplicate, crossed or unknown, or it cannot be written."""


def truncate(text: str, limit: int = 300) -> str:
    """Return the text, cut off with an ellipsis if it is longer than `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def error_text(error: BaseException) -> str:
    """Return an exception's text on one line; its type's name if it has no text."""
    return truncate(" ".join(str(error).split()) or type(error).__name__)


def typed_error_text(error: BaseException) -> str:
    """Return `ValueError: head_dim must divide hidden_size`."""
    return f"{type(error).__name__}: {error_text(error)}"
