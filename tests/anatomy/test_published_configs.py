"""Configurations of published models, and other real ones where a `shared/hub` lies beside the project."""

import json
from pathlib import Path

import accelerate
import pytest
import transformers

from tests.published import TOTALS
from vlm_inspect import app
from vlm_inspect.anatomy import describe
from vlm_inspect.build import native
from vlm_inspect.build.selection import select
from vlm_inspect.errors import NotNativeError
from vlm_inspect.ref import ModelIdentity

HUB = Path(__file__).parents[3] / "shared" / "hub"
REAL = {path.parent.name: json.loads(path.read_text()) for path in sorted(HUB.glob("*/config.json"))}
CONFIGS = {name: config for name, (config, _) in TOTALS.items()} | REAL


def counted(config):
    """What torch itself counts over a plain build on the meta device."""
    selected = select(config, "org/name")
    with accelerate.init_empty_weights(include_buffers=True):
        model = selected.model_class(selected.config_class.from_dict(json.loads(json.dumps(config))))
        model.tie_weights()
    return sum(parameter.numel() for parameter in model.parameters())


def is_native(config):
    try:
        native.build(config, "org/name")
    except NotNativeError:
        return False
    return True


NATIVE = [name for name, config in CONFIGS.items() if is_native(config)]


# a published config may say what transformers calls by another name today
@pytest.mark.filterwarnings("ignore:`rope_scaling` is deprecated:FutureWarning")
@pytest.mark.parametrize("name", NATIVE)
def test_the_parts_add_up_to_what_torch_counts(name):
    tree = native.build(CONFIGS[name], name)
    architecture = describe(tree, ModelIdentity(name), "transformers")
    assert sum(component.parameters for component in architecture.components) == tree.total
    transformers.logging.set_verbosity_error()
    assert tree.total == counted(CONFIGS[name])


@pytest.mark.parametrize("name", CONFIGS)
def test_every_one_is_answered_by_a_build_or_by_what_it_says(name, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIGS[name]))
    record = app.examine(str(tmp_path)).architecture
    assert record.builder == ("transformers" if name in NATIVE else "config")
    assert (record.parameters.total is None) == (record.builder == "config")
    assert (record.parameters.total is None) == ("total" in record.parameters.unknown)
