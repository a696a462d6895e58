"""Under transformers 4.41.2 the models are those of the seed: its rows, and its printed module trees."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
import transformers

from tests.compat.seed import GOLDEN
from vlm_inspect.anatomy.describe import describe
from vlm_inspect.builders.transformers import build
from vlm_inspect.core.architecture import Role
from vlm_inspect.core.model_ref import ModelIdentity
from vlm_inspect.render.tree import tree_lines
from vlm_inspect.sources import catalogue

PRINTS = sorted((Path(__file__).parent / "prints").glob("*.txt"))
LLAVA, LLAVA_NEXT = "llava-hf/llava-1.5-7b-hf", "llava-hf/llava-v1.6-mistral-7b-hf"
# a print has no line for a parameter that is no module's; and since 2024 torch tells LayerNorm's bias
BARE = re.compile(r"\): Parameter\(")
BIAS = "elementwise_affine=True, bias=True)"
# when it was printed, its repository had one token less
LATER = {"HuggingFaceM4/idefics2-8b-chatty": ("32003", "32002")}


def built(name, **changes):
    return build.build({**catalogue.load(name).config, **changes}, name)


def described(name):
    return describe(built(name), ModelIdentity(name, source="catalogue"), "transformers")


def attention_classes(tree):
    return {node.class_name for _, node in tree.root.walk() if "Attention" in node.class_name}


def test_this_is_the_oldest_transformers():
    assert transformers.__version__ == "4.41.2"


def test_the_rows_are_the_golden_ones():
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "vlm_inspect",
        "table",
        "--offline",
        "--format",
        "markdown",
    ]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    assert told.stdout == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", PRINTS, ids=lambda path: path.stem)
def test_a_tree_is_the_print_of_2024(path):
    name = path.stem.replace("__", "/")
    lines = [line.printed.replace(BIAS, "elementwise_affine=True)") for line in tree_lines(built(name))]
    later, then = LATER.get(name, ("", ""))
    modules = [line.replace(later, then) for line in lines if not BARE.search(line)]
    assert modules == path.read_text(encoding="utf-8").splitlines()


def test_a_head_inside_the_language_model_is_no_part_of_it():
    record = described(LLAVA)
    (model,), (head,) = record.by_role(Role.LANGUAGE_MODEL), record.by_role(Role.LM_HEAD)
    assert (model.paths, model.class_name) == (("language_model",), "LlamaForCausalLM")
    assert (head.paths, head.parameters) == (("language_model.lm_head",), 32064 * 4096)
    assert model.parameters + head.parameters == 7_063_427_072 - 303_507_456 - 20_979_712


def test_a_separator_of_rows_is_counted_once():
    record = described(LLAVA_NEXT)
    assert sum(component.parameters for component in record.components) == 7_566_747_648


@pytest.mark.parametrize("key", ["_attn_implementation", "attn_implementation"])
def test_a_stated_kernel_chooses_the_class_whether_it_is_installed_or_not(key):
    assert importlib.util.find_spec("flash_attn") is None
    eager = attention_classes(built(LLAVA, **{key: "eager"}))
    flash = attention_classes(built(LLAVA, **{key: "flash_attention_2"}))
    assert "LlamaAttention" in eager
    assert "LlamaFlashAttention2" in flash


def test_a_kernel_that_a_class_does_not_have_leaves_the_choice_to_the_version():
    config = {"model_type": "git", "_attn_implementation": "flash_attention_2"}
    assert not transformers.GitForCausalLM._supports_flash_attn_2  # noqa: SLF001 - its only name
    assert attention_classes(build.build(config, "git")) == {
        "GitAttention",
        "GitSelfAttention",
        "GitVisionAttention",
    }


def test_a_kernel_that_no_version_has_is_not_asked_for():
    assert "LlamaSdpaAttention" in attention_classes(built(LLAVA, _attn_implementation="of_tomorrow"))
