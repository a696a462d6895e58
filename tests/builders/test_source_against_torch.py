"""Class names from source, compared with the modules that torch makes when the same source runs."""

import sys
import textwrap
import types

import pytest
import torch

from tests.builders.module_code import CONFIG, HEAD, NAMED, UNDECIDED
from vlm_inspect.builders.order import build_header_tree
from vlm_inspect.core.checkpoint import Checkpoint, TensorHeaders, TensorInfo
from vlm_inspect.core.model_ref import ModelIdentity

AUTO_MAP = {"AutoModel": "modeling.Model", "AutoConfig": "modeling.Config"}


@pytest.fixture
def compared(monkeypatch):
    """(class names by path, those of torch, the tree): what is read, next to what is made."""

    def compare(case):
        head, body = case if isinstance(case, tuple) else ("", case)
        code = (
            f"{HEAD}{head}\nclass Model(nn.Module):\n    def __init__(self, config):\n        super().__init__()\n"
            + textwrap.indent(body, " " * 8)
        )
        module = types.ModuleType("modeling")
        monkeypatch.setitem(sys.modules, "modeling", module)  # dataclasses look their module up
        exec(compile(code, "modeling.py", "exec"), module.__dict__)  # noqa: S102 - this test's own code
        with torch.device("meta"):
            live = module.Model(module.Config(**CONFIG))
        stored = live.state_dict().items()
        headers = TensorHeaders(
            tuple(TensorInfo(name, "F32", tuple(each.shape), 4 * each.numel()) for name, each in stored)
        )
        checkpoint = Checkpoint(ModelIdentity("org/name"), {"auto_map": AUTO_MAP, **CONFIG})
        tree = build_header_tree(checkpoint, headers, {"modeling.py": code})
        made = {path: type(each).__name__ for path, each in live.named_modules() if any(each.state_dict())}
        return {path: tree.find(path).class_name for path in made}, made, tree

    return compare


@pytest.mark.parametrize("case", NAMED.values(), ids=NAMED)
def test_modules_have_the_names_of_torch(case, compared):
    named, made, tree = compared(case)
    assert named == made, tree.unknowns.classes


@pytest.mark.parametrize("case", UNDECIDED.values(), ids=UNDECIDED)
def test_name_that_the_source_does_not_decide_is_unknown_or_right(case, compared):
    named, made, _ = compared(case)
    wrong = {path: name for path, name in named.items() if not name.startswith("?") and name != made[path]}
    assert not wrong


def test_equal_layers_of_unknown_number_are_one_node(compared):
    _, _, tree = compared(NAMED["list: append"])
    assert len({id(layer) for _, layer in tree.find("b").children}) == 1


def test_projector_of_unknown_depth_shows_its_activations(compared):
    _, _, tree = compared(NAMED["list: a projector of unknown depth"])
    steps = [each.class_name for _, each in tree.find("b").children]
    assert steps[:5] == ["Linear", "GELU", "Linear", "GELU", "Linear"]
