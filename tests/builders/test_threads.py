"""Builds in threads: a build patches torch for the whole process, so only one runs at a time."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.every_type import config_of
from vlm_inspect.anatomy.describe import describe
from vlm_inspect.builders.transformers import build
from vlm_inspect.core import codec
from vlm_inspect.core.model_ref import ModelIdentity

# towers whose package is missing, ties, buffers, mixtures of experts, an image tokeniser
TYPES = ("fast_vlm", "aria", "deepseek_ocr2", "chameleon", "llava", "mllama", "gemma3n")


@pytest.fixture
def switching():
    """Let threads switch every few bytecodes."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def answer(model_type):
    tree = build.build(config_of(model_type), model_type)
    record = describe(tree, ModelIdentity(model_type, source="local"), "transformers")
    return record, codec.to_bytes(tree)


@pytest.mark.usefixtures("switching")
def test_builds_in_threads_give_the_same_records():
    with ThreadPoolExecutor(4) as executor:
        answers = list(executor.map(answer, TYPES * 2))
    assert answers == [answer(model_type) for model_type in TYPES] * 2


def test_builds_do_not_overlap():
    inside = []

    def build_one():
        with build.selected_class(config_of("llava"), "llava"):
            inside.append("begun")
            time.sleep(0.05)
            inside.append("done")

    with ThreadPoolExecutor(4) as executor:
        for future in [executor.submit(build_one) for _ in range(4)]:
            future.result()
    assert inside == ["begun", "done"] * 4
