"""A further model costs what the one before it cost: nothing of a model outlives its answer."""

import gc
import json
import time
import weakref
from itertools import count, islice
from pathlib import Path

import psutil
import pytest
from torch import nn

import vlm_inspect
from tests.every_type import config_of, small
from vlm_inspect.builders.transformers import module_tree
from vlm_inspect.core.module_tree import ModuleNode

TYPES = ("aria", "aya_vision", "blip-2", "deepseek_vl", "florence2", "idefics3", "llava", "paligemma")
ROUNDS = 5
"""Of a model of each type, before anything is counted: classes are imported, and caches filled."""
MODELS = 128
BLOCKS = 8
"""In which the CPU time of these models is measured."""


@pytest.fixture
def models(tmp_path):
    """Folders without end, of one type after another, no two of them alike."""
    configs = [small(config_of(model_type)) for model_type in TYPES]

    def folders():
        for number in count():
            folder = tmp_path / str(number)
            folder.mkdir()
            text = json.dumps({**configs[number % len(configs)], "initializer_range": number / 1e6})
            (folder / "config.json").write_text(text, encoding="utf-8")
            yield str(folder)

    return folders


def answered(models, number, **options):
    """How many of so many were answered."""
    outcomes = islice(vlm_inspect.inspect_many(models, **options), number)
    return sum(isinstance(outcome, vlm_inspect.Inspected) for outcome in outcomes)


def cpu_seconds(models, number):
    """The CPU time of this process for so many models."""
    start = time.process_time()
    assert answered(models, number, cache=False) == number
    return time.process_time() - start


def of_models():
    """How many modules and nodes there are, and how many objects of any kind."""
    gc.collect()
    objects = gc.get_objects()
    return sum(issubclass(type(each), (nn.Module, ModuleNode)) for each in objects), len(objects)


def test_a_model_is_gone_before_the_next_is_built(models, monkeypatch):
    read, alive, built = module_tree.read_model, weakref.WeakSet(), []

    def watched(live, *rest, **more):
        assert not alive, "the model before this one is still there"
        alive.update(live.modules())
        built.append(len(alive))
        return read(live, *rest, **more)

    monkeypatch.setattr(module_tree, "read_model", watched)
    assert answered(models(), 2 * len(TYPES), cache=False) == len(built) == 2 * len(TYPES)
    assert min(built) > 10


def test_further_models_leave_nothing_behind(models):
    endless = models()
    warm = ROUNDS * len(TYPES)
    assert answered(endless, warm, cache=False) == warm
    modules, objects = of_models()
    memory = psutil.Process().memory_info().rss
    seconds = [cpu_seconds(endless, MODELS // BLOCKS) for _ in range(BLOCKS)]
    more_modules, more_objects = of_models()
    grown = (psutil.Process().memory_info().rss - memory) / 1024
    assert more_modules == modules
    assert (more_objects - objects) / MODELS < 1
    assert grown / MODELS < 64, "KiB"
    # CPU time, the least of several blocks: other work on the machine changes it little
    assert min(seconds[BLOCKS // 2 :]) < 1.25 * min(seconds[: BLOCKS // 2])


def test_keys_that_no_other_configuration_has_leave_nothing_behind_either(models):
    """A cache of what keys mean must not keep a stranger's."""
    folder = Path(next(models()))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))

    def strange():
        for number in count():
            keys = {f"key_{number}_{each}_size": 1 for each in range(300)}
            (folder / "config.json").write_text(json.dumps(keys | config), encoding="utf-8")
            yield str(folder)

    endless = strange()
    assert answered(endless, 20, cache=False, offline=True) == 20  # fills caches of a fixed size
    _, objects = of_models()
    assert answered(endless, 20, cache=False, offline=True) == 20
    _, more_objects = of_models()
    assert (more_objects - objects) / 20 < 100
