"""The size of image that a tower's positions are made for."""

import pytest

from tests.anatomy.small_trees import module, norm
from vlm_inspect.anatomy.components import image_size
from vlm_inspect.core.architecture import ConvStage, EmbeddingStage, LinearStage

PATCHES = ConvStage("Conv2d", "patch", in_channels=3, out_channels=64, kernel_size=(14, 14))


def table(places):
    return EmbeddingStage(
        "Parameter", "embeddings.position_embedding", num_embeddings=places, embedding_dim=64
    )


@pytest.mark.parametrize("places", [24 * 24, 24 * 24 + 1, 24 * 24 + 5])
def test_a_table_that_fits_the_configuration_confirms_it(places):
    found = image_size([module("Tower", norm=norm(64))], (PATCHES, table(places)), {"image_size": 336})
    assert found == (336, 336)


def test_a_table_for_another_size_than_stated_is_believed():
    linear = LinearStage("Linear", "patch", in_features=768, out_features=64)
    config = {"image_size": 224, "patch_size": 16}
    assert image_size([module("Tower", norm=norm(64))], (linear, table(128 * 128)), config) == (2048, 2048)


def test_a_table_for_another_size_that_is_no_square_leaves_it_open():
    assert image_size([module("Tower", norm=norm(64))], (PATCHES, table(1000)), {"image_size": 336}) == ()


def test_without_a_table_the_configuration_is_all_there_is():
    assert image_size([module("Tower", norm=norm(64))], (PATCHES,), {"image_size": [960, 720]}) == (960, 720)
    assert image_size([module("Tower", norm=norm(64))], (PATCHES,), {}) == ()
