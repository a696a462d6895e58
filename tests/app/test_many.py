"""Many models: the same outcomes wherever they are made, in order; what is known costs no worker."""

import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count, islice
from multiprocessing import spawn

import psutil
import pytest

import vlm_inspect
from tests.published import LLAVA_1_5_7B
from vlm_inspect.app import batch, pipeline
from vlm_inspect.builders.transformers import build as transformers_build
from vlm_inspect.core import codec
from vlm_inspect.core.errors import ConfigMissingError, InvalidConfigError, UnbuildableConfigError
from vlm_inspect.core.options import InspectOptions

UNBUILT = {"architectures": ["NobodysForConditionalGeneration"], "model_type": "nobodys"}
REFUSED = {**LLAVA_1_5_7B, "text_config": {"model_type": "llama", "num_hidden_layers": -1}}


def llava(width):
    """A small model of one layer and one more, told from others by a width."""
    text = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4, "vocab_size": 128}
    vision = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4, "image_size": 28}
    return {
        "architectures": ["LlavaForConditionalGeneration"],
        "model_type": "llava",
        "text_config": {"model_type": "llama", "intermediate_size": width, **text},
        "vision_config": {"model_type": "clip_vision_model", "patch_size": 14, **vision},
    }


@pytest.fixture
def folder_of(tmp_path):
    """Writes a configuration, and says where."""
    numbers = count()

    def write(config):
        folder = tmp_path / f"model-{next(numbers)}"
        folder.mkdir()
        (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
        return str(folder)

    return write


@pytest.fixture
def builds(monkeypatch):
    """The real builds of this process, by model."""
    done, build = [], transformers_build.build

    def counted(config, model):
        done.append(model)
        return build(config, model)

    monkeypatch.setattr(transformers_build, "build", counted)
    return done


def told(outcomes):
    return [
        outcome.answer.parameters.total if isinstance(outcome, vlm_inspect.Inspected) else type(outcome.error)
        for outcome in outcomes
    ]


def workers_now():
    return [each for each in psutil.Process().children() if "spawn_main" in " ".join(each.cmdline())]


def in_threads(models, **options):
    with ThreadPoolExecutor(4) as executor:
        yield from vlm_inspect.inspect_many(models, executor=executor, **options)


def in_processes(models, *, offline, cache):
    """With the trees, which must be those of this process."""
    options = InspectOptions(offline=offline, use_cache=cache, jobs=2)
    load = partial(pipeline.resolve, options=options)
    for outcome in batch.inspect_many(models, load, options, with_tree=True):
        if isinstance(outcome, vlm_inspect.Inspected):
            here = pipeline.inspect_model(outcome.model, options=options).tree
            there = outcome.answer.tree
            assert there == here is None or codec.to_bytes(there) == codec.to_bytes(here)
            yield vlm_inspect.Inspected(outcome.model, outcome.answer.architecture)
        else:
            yield outcome


WAYS = {"here": vlm_inspect.inspect_many, "in threads": in_threads, "in processes": in_processes}


@pytest.mark.parametrize("way", WAYS)
def test_outcomes_are_those_of_each_model_alone(folder_of, way):
    configs = [llava(96), UNBUILT, "no json", REFUSED, LLAVA_1_5_7B]
    models = [*map(folder_of, configs), "/nowhere", "llava-hf/llava-1.5-7b-hf"]
    outcomes = list(WAYS[way](models, offline=True, cache=False))
    assert [outcome.model for outcome in outcomes] == models
    for outcome in outcomes:
        if isinstance(outcome, vlm_inspect.Inspected):
            assert outcome.answer == vlm_inspect.inspect(outcome.model, offline=True, cache=False)
        else:
            with pytest.raises(vlm_inspect.VlmInspectError) as raised:
                vlm_inspect.inspect(outcome.model, offline=True)
            assert str(raised.value) == str(outcome.error)
    kinds = (InvalidConfigError, UnbuildableConfigError, 7_063_427_072, ConfigMissingError, 7_063_427_072)
    assert told(outcomes)[2:] == list(kinds)


def test_models_without_end_are_answered_as_they_are_asked_for(folder_of):
    models = (folder_of({**llava(64), "_name_or_path": str(number)}) for number in count())
    outcomes = vlm_inspect.inspect_many(models, jobs=2)
    assert len(set(told(islice(outcomes, 100)))) == 1
    outcomes.close()
    assert not workers_now()


def test_what_is_kept_costs_no_worker(folder_of, monkeypatch):
    models = [folder_of(llava(72)), folder_of({**llava(72), "_name_or_path": "another"}), "/nowhere"]
    before = told(vlm_inspect.inspect_many(models))
    monkeypatch.setattr(spawn, "_python_exe", b"/nowhere/python")  # starting one would be an error
    assert told(vlm_inspect.inspect_many(models, jobs=2)) == before


@pytest.mark.parametrize("way", ["here", "in threads"])
def test_of_2000_configurations_each_architecture_is_built_once(folder_of, builds, way):
    first = 1000 if way == "here" else 2000  # each its own: answers of the session are kept
    models = [folder_of({**llava(first + number % 50), "_name_or_path": str(number)}) for number in range(2000)]
    outcomes = told(WAYS[way](models))
    assert len(builds) == 50
    assert outcomes == outcomes[:50] * 40
    assert len(set(outcomes)) == 50
