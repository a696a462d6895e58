"""The stored configurations build published models with the parameters that README.md lists."""

import json
import re
from pathlib import Path

import pytest

from tests.every_type import STORED_CONFIGS
from tests.every_type.answers import tree_of

README = Path(__file__).parent / "configs" / "README.md"
ROW = re.compile(r"^\| `(\w+)\.json` \| [^|]+ \| ([\d,]+) \| [^|]+ \|$", re.MULTILINE)
TOTALS = {name: int(total.replace(",", "")) for name, total in ROW.findall(README.read_text(encoding="utf-8"))}


def test_readme_lists_every_stored_configuration():
    assert set(TOTALS) == set(STORED_CONFIGS)


@pytest.mark.parametrize("model_type", STORED_CONFIGS)
def test_total_matches_readme(model_type):
    assert tree_of(model_type).total == TOTALS[model_type]


@pytest.mark.parametrize("model_type", STORED_CONFIGS)
def test_every_structural_key_is_used(model_type):
    assert not [key for key in tree_of(model_type).unused_config_keys if key.structural]


@pytest.mark.parametrize("path", STORED_CONFIGS.values(), ids=STORED_CONFIGS)
def test_no_class_and_no_version(path):
    assert not {"architectures", "transformers_version"} & json.loads(path.read_text(encoding="utf-8")).keys()
