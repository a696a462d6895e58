"""The functions of the public API."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING

from vlm_inspect.app.batch import Failed, Inspected
from vlm_inspect.app.pipeline import ModelLike, inspect_model, resolve, take_snapshot
from vlm_inspect.core.architecture import Architecture
from vlm_inspect.core.options import Builder, InspectOptions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from concurrent.futures import Executor

    from vlm_inspect.core.difference import Difference


def inspect(  # noqa: PLR0913 - the options of the command, by name
    model: ModelLike,
    *,
    revision: str | None = None,
    token: str | None = None,
    cache_dir: str | PathLike[str] | None = None,
    offline: bool = False,
    builder: Builder | None = None,
    trust_remote_code: bool = False,
    cache: bool = True,
) -> Architecture:
    """Inspect a model: its components, parameters and layers. No weights are downloaded.

    Args:
        model: `org/name`, `org/name@revision`, `hf://…`, the address of a model's page, a folder with a
            config.json, a config.json, a .safetensors file or a snapshot file. Or a configuration: a dict, or
            an object of a configuration class of transformers.
        revision: Branch, tag or commit on the Hub, if `model` names none.
        token: Hub token. Default: `HF_TOKEN`, or the token of `hf auth login`.
        cache_dir: Hub cache. Default: `HF_HUB_CACHE`.
        offline: Do not use the network; use cached files and built-in models only.
        builder: Use only this builder. Default: the first that can build the model.
        trust_remote_code: Run the repository's code, in a sandbox, where transformers has no class.
        cache: Read and write the result cache.

    Returns:
        The record of the model, as `show --format json` prints it.

    Raises:
        VlmInspectError: The model cannot be inspected. `message` says what happened, `hint` what to do.

    Example:
        >>> import vlm_inspect
        >>> record = vlm_inspect.inspect("llava-hf/llava-1.5-7b-hf", offline=True)
        >>> record.model_class
        'LlavaForConditionalGeneration'
        >>> record.parameters.total
        7063427072

    """
    options = InspectOptions(
        token, cache_dir, offline, builder=builder, trust_remote_code=trust_remote_code, use_cache=cache
    )
    return inspect_model(model, revision=revision, options=options, with_tree=False).architecture


def diff(
    before: ModelLike,
    after: ModelLike,
    *,
    token: str | None = None,
    cache_dir: str | PathLike[str] | None = None,
    offline: bool = False,
) -> Difference:
    """Compare two models: their components, facts and module paths.

    Args:
        before: The first model, as for `inspect`. Two revisions are `org/name@a` and `org/name@b`.
        after: The second model.
        token: Hub token. Default: `HF_TOKEN`, or the token of `hf auth login`.
        cache_dir: Hub cache. Default: `HF_HUB_CACHE`.
        offline: Do not use the network; use cached files and built-in models only.

    Returns:
        What differs; `empty` is true if nothing does.

    Raises:
        VlmInspectError: One of the models cannot be inspected.

    Example:
        >>> import vlm_inspect
        >>> base, tuned = "HuggingFaceM4/idefics2-8b-base", "HuggingFaceM4/idefics2-8b"
        >>> difference = vlm_inspect.diff(base, tuned, offline=True)
        >>> [(change.field, change.before, change.after) for change in difference.changes]
        [('vocabulary', 32002, 32003)]

    """
    from vlm_inspect.compare.compare import compare

    options = InspectOptions(token=token, cache_dir=cache_dir, offline=offline)
    return compare(take_snapshot(before, options=options).snapshot, take_snapshot(after, options=options).snapshot)


def inspect_many(  # noqa: PLR0913 - as inspect
    models: Iterable[ModelLike],
    *,
    jobs: int = 1,
    executor: Executor | None = None,
    token: str | None = None,
    cache_dir: str | PathLike[str] | None = None,
    offline: bool = False,
    builder: Builder | None = None,
    trust_remote_code: bool = False,
    cache: bool = True,
) -> Iterator[Inspected[ModelLike, Architecture] | Failed[ModelLike]]:
    """Inspect many models, one after the other or in parallel. Close the iterator to stop early.

    Args:
        models: The models, as for `inspect`: any iterable, even an endless one.
        jobs: Number of processes of this machine.
        executor: Any `concurrent.futures.Executor` to use instead, of a Dask cluster for example.
        token: Hub token. Default: `HF_TOKEN`, or the token of `hf auth login`.
        cache_dir: Hub cache. Default: `HF_HUB_CACHE`.
        offline: Do not use the network; use cached files and built-in models only.
        builder: Use only this builder. Default: the first that can build the model.
        trust_remote_code: Run the repository's code, in a sandbox, where transformers has no class.
        cache: Read and write the result cache.

    Yields:
        An outcome for each model, in the order of `models`: Inspected, with the record as its `answer`, or
        Failed, with the VlmInspectError as its `error`. `model` is the model as it was given.

    Raises:
        VlmInspectError: The work cannot go on at all, for example because the executor was shut down.

    Example:
        >>> import vlm_inspect
        >>> for outcome in vlm_inspect.inspect_many(["llava-hf/llava-1.5-7b-hf", "./none"], offline=True):
        ...     match outcome:
        ...         case vlm_inspect.Inspected(answer=record):
        ...             print(record.parameters.total)
        ...         case vlm_inspect.Failed(error=error):
        ...             print(error.message)
        7063427072
        ./none: there is no such file or folder.

    """
    from functools import partial

    from vlm_inspect.app.batch import inspect_many as outcomes_of

    options = InspectOptions(
        token,
        cache_dir,
        offline,
        builder=builder,
        trust_remote_code=trust_remote_code,
        use_cache=cache,
        jobs=jobs,
    )
    outcomes = outcomes_of(models, partial(resolve, options=options), options, executor=executor)
    for outcome in outcomes:
        if isinstance(outcome, Failed):
            yield outcome
        else:
            yield Inspected(outcome.model, outcome.answer.architecture)
