"""What vlm-inspect does, as the functions of the public API."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vlm_inspect.architecture import Architecture
from vlm_inspect.batch import Failed, Inspected
from vlm_inspect.builder import Builder
from vlm_inspect.inspection import examine, look_up, take
from vlm_inspect.sources.options import InspectOptions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from concurrent.futures import Executor

    from vlm_inspect.difference import Difference


def inspect(  # noqa: PLR0913 - the options of the command, by name
    model: str,
    *,
    revision: str | None = None,
    token: str | None = None,
    cache_dir: Path | None = None,
    offline: bool = False,
    builder: Builder | None = None,
    trust_remote_code: bool = False,
    cache: bool = True,
) -> Architecture:
    """What a model is made of. `model` is `org/name`, `org/name@revision`, a folder or a config.json.

    `token`, `cache_dir` and `offline` are as on the command line: without them, as huggingface_hub's
    environment says. `builder` and `trust_remote_code` are as there, too; `cache=False` is `--no-cache`.
    Raises VlmInspectError: its message says what happened, its hint what to do.
    """
    options = InspectOptions(
        token, cache_dir, offline, builder=builder, trust_remote_code=trust_remote_code, use_cache=cache
    )
    return examine(model, revision=revision, options=options, with_tree=False).architecture


def diff(
    before: str,
    after: str,
    *,
    token: str | None = None,
    cache_dir: Path | None = None,
    offline: bool = False,
) -> Difference:
    """What is not the same in two models, revisions (`org/name@a`), folders or snapshot files.

    Raises VlmInspectError where one of them cannot be answered.
    """
    from vlm_inspect.compare import compare

    options = InspectOptions(token=token, cache_dir=cache_dir, offline=offline)
    return compare(take(before, options=options).snapshot, take(after, options=options).snapshot)


def inspect_many(  # noqa: PLR0913 - as inspect
    models: Iterable[str],
    *,
    jobs: int = 1,
    executor: Executor | None = None,
    token: str | None = None,
    cache_dir: Path | None = None,
    offline: bool = False,
    builder: Builder | None = None,
    trust_remote_code: bool = False,
    cache: bool = True,
) -> Iterator[Inspected[str, Architecture] | Failed[str]]:
    """What each of many models is made of, in the order asked and as they come.

    `models` may be any iterable, as long as it likes: of each it says what `inspect` takes. An outcome is
    `Inspected`, with the record as its `answer`, or `Failed`, with the VlmInspectError as its `error`;
    `asked` is the model. `jobs` processes of this machine share the work, or any
    `concurrent.futures.Executor` does: a cluster's as well. Whoever needs no more closes the iterator.
    """
    from functools import partial

    from vlm_inspect.many import inspections

    options = InspectOptions(
        token,
        cache_dir,
        offline,
        builder=builder,
        trust_remote_code=trust_remote_code,
        use_cache=cache,
        jobs=jobs,
    )
    outcomes = inspections(models, partial(look_up, options=options), options, executor=executor)
    for outcome in outcomes:
        if isinstance(outcome, Failed):
            yield outcome
        else:
            yield Inspected(outcome.asked, outcome.answer.architecture)
