"""Explain why a model was not found: its files are of another format, or another model has a similar name."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from difflib import get_close_matches
from fnmatch import fnmatch
from functools import partial

from vlm_inspect.core.errors import ConfigMissingError, HubUnavailableError, ModelNotFoundError, SourceError
from vlm_inspect.core.model_ref import ModelRef
from vlm_inspect.core.options import InspectOptions
from vlm_inspect.sources import adapters, catalogue, hub
from vlm_inspect.sources.config_file import ORIGINAL_HINT

_SIMILARITY = 0.8
_PIPELINE = "model_index.json"
_WEIGHTS = "*.safetensors"
# patterns of file names, the more specific first → what they are
_FORMATS = {
    "*.gguf": "GGUF files, the format of llama.cpp",
    "params.json": "Mistral's own format (params.json), not that of transformers",
    "open_clip_config.json": "an OpenCLIP model",
    "*.nemo": "a NeMo archive",
    "*.onnx": "ONNX files",
    "openvino_*.xml": "an OpenVINO model",
    "*.tflite": "TensorFlow Lite files",
    "*.task": "a MediaPipe bundle",
    "*.mlpackage": "a Core ML package",
}


def explain(error: SourceError, ref: ModelRef, options: InspectOptions) -> SourceError:
    """Return the error with what there is instead of the model, if that is known."""
    if isinstance(error, ConfigMissingError):
        with suppress(SourceError, OSError):
            message, hint = _description(ref, _names(ref, options), options)
            if message:
                return ConfigMissingError(f"{ref.name} {message}, and has no config.json.", hint=hint, model=ref.name)
    is_not_cached = isinstance(error, HubUnavailableError) and hub.is_offline(options)
    if isinstance(error, ModelNotFoundError) or is_not_cached:
        error.hint = " ".join(filter(None, (_suggestion(ref, options), error.hint)))
    return error


def _suggestion(ref: ModelRef, options: InspectOptions) -> str:
    if ref.revision and ref.name in catalogue.names():
        return f"The built-in catalogue has it without a revision: vlm-inspect show {ref.name}."
    similar = _similar_name(ref.name, options)
    return f"Did you mean {similar}?" if similar else ""


def _similar_name(name: str, options: InspectOptions) -> str | None:
    """The most similar name of a model in the catalogue or the cache, with or without its organization."""
    known = {*catalogue.names(), *hub.cached_names(options)}
    if name in known:
        return None
    by_text = {each.lower(): each for each in known} | {each.lower().rpartition("/")[2]: each for each in known}
    found = get_close_matches(name.lower(), by_text, n=1, cutoff=_SIMILARITY)
    return by_text[found[0]] if found else None


def _names(ref: ModelRef, options: InspectOptions) -> Sequence[str]:
    if ref.path is not None:
        return sorted(path.name for path in ref.path.iterdir()) if ref.path.is_dir() else ()
    from vlm_inspect.sources.http import repo_info
    from vlm_inspect.sources.hub_errors import HubRequest

    request = HubRequest(ref, hub.token_to_send(options.token))
    revision = f"{ref.name}/revision/{ref.revision}" if ref.revision else ref.name
    info = request.run(options, partial(repo_info, revision, request.token))
    return [file.rfilename for file in info.siblings or () if file.rfilename.isprintable()]


def _description(ref: ModelRef, names: Sequence[str], options: InspectOptions) -> tuple[str, str]:
    if adapters.ADAPTER_CONFIG in names:
        found = adapters.load(ref, options)
        base = found.config.get("base_model_name_or_path") if found else None
        base = base if isinstance(base, str) and base.isprintable() and base else "BASE_MODEL"
        hint = f"vlm-inspect show {base[:200]}, or check the adapter: vlm-inspect verify {ref.name}"
        return "is a PEFT adapter", hint
    if _PIPELINE in names:
        return "is a diffusers pipeline", _pipeline_hint(ref, names)
    for pattern, text in _FORMATS.items():
        if any(fnmatch(name, pattern) for name in names):
            return f"holds {text}", ORIGINAL_HINT
    weights = next((name for name in names if fnmatch(name, _WEIGHTS) and "/" not in name), None)
    if weights and ref.path is not None:
        return f"holds {weights}", f"vlm-inspect show {ref.path / weights}"
    return "", ""


def _pipeline_hint(ref: ModelRef, names: Sequence[str]) -> str:
    """A pipeline's models are in its folders."""
    if ref.path is not None:
        parts = sorted(path.parent.name for path in ref.path.glob("*/config.json"))
        return f"Name one of its models: vlm-inspect show {ref.path / (parts[0] if parts else 'text_encoder')}"
    parts = sorted(name.partition("/")[0] for name in names if name.endswith("/config.json"))
    part = parts[0] if parts else "text_encoder"
    return f"Download one of its models: hf download {ref.name} --include '{part}/*' --local-dir DIR"
