"""The configurations that are stated: of published models, at the size that their README.md says."""

import json
import re
from pathlib import Path

import pytest

from tests.every_type import STATED
from tests.every_type.answers import tree_of

README = Path(__file__).parent / "configs" / "README.md"
ROW = re.compile(r"^\| `(\w+)\.json` \| [^|]+ \| ([\d,]+) \| [^|]+ \|$", re.MULTILINE)
TOLD = {name: int(total.replace(",", "")) for name, total in ROW.findall(README.read_text(encoding="utf-8"))}


def test_every_stated_configuration_says_whose_figures_it_holds():
    assert set(TOLD) == set(STATED)


@pytest.mark.parametrize("model_type", STATED)
def test_it_builds_the_model_of_the_size_that_is_told(model_type):
    assert tree_of(model_type).total == TOLD[model_type]


@pytest.mark.parametrize("model_type", STATED)
def test_no_key_of_it_is_left_unread_that_states_a_size(model_type):
    assert not [key for key in tree_of(model_type).unused_config_keys if key.structural]


@pytest.mark.parametrize("path", STATED.values(), ids=STATED)
def test_it_names_no_class_and_no_version(path):
    assert not {"architectures", "transformers_version"} & json.loads(path.read_text(encoding="utf-8")).keys()
