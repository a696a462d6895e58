"""Builds in threads: what stands elsewhere in torch during a build does so in the whole process."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.every_type import config_of
from vlm_inspect.anatomy.describe import describe
from vlm_inspect.builders.transformers import build
from vlm_inspect.core import codec
from vlm_inspect.core.model_ref import ModelIdentity

# towers that miss a package, ties, buffers, mixtures of experts, a tokeniser of images
TYPES = ("fast_vlm", "aria", "deepseek_ocr2", "chameleon", "llava", "mllama", "gemma3n")


@pytest.fixture
def switching():
    """Threads that take turns at every few lines."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def answer(model_type):
    tree = build.build(config_of(model_type), model_type)
    record = describe(tree, ModelIdentity(model_type, source="local"), "transformers")
    return record, codec.to_bytes(tree)


@pytest.mark.usefixtures("switching")
def test_threads_answer_as_one_after_another_does():
    with ThreadPoolExecutor(4) as executor:
        answers = list(executor.map(answer, TYPES * 2))
    assert answers == [answer(model_type) for model_type in TYPES] * 2


def test_builds_do_not_overlap():
    inside = []

    def work(*_):
        inside.append("begun")
        time.sleep(0.05)
        inside.append("done")

    config = config_of("llava")
    with ThreadPoolExecutor(4) as executor:
        for future in [executor.submit(build.with_class, config, "llava", work) for _ in range(4)]:
            future.result()
    assert inside == ["begun", "done"] * 4
