"""The image size of a vision encoder, from its position table and its configuration."""

import pytest

from tests.anatomy.small_trees import module, norm
from vlm_inspect.anatomy.components import image_size
from vlm_inspect.core.stages import ConvStage, EmbeddingStage, LinearStage

PATCHES = ConvStage("Conv2d", "patch", in_channels=3, out_channels=64, kernel_size=(14, 14))


def table(positions):
    return EmbeddingStage("Parameter", "embeddings.position_embedding", num_embeddings=positions, embedding_dim=64)


@pytest.mark.parametrize("positions", [24 * 24, 24 * 24 + 1, 24 * 24 + 5])
def test_a_position_table_of_the_configured_size_confirms_it(positions):
    found = image_size([module("Tower", norm=norm(64))], (PATCHES, table(positions)), {"image_size": 336})
    assert found == (336, 336)


def test_a_square_position_table_of_another_size_wins():
    linear = LinearStage("Linear", "patch", in_features=768, out_features=64)
    config = {"image_size": 224, "patch_size": 16}
    assert image_size([module("Tower", norm=norm(64))], (linear, table(128 * 128)), config) == (2048, 2048)


def test_a_position_table_of_another_size_that_is_not_square_gives_no_size():
    assert image_size([module("Tower", norm=norm(64))], (PATCHES, table(1000)), {"image_size": 336}) == ()


def test_without_a_position_table_the_configuration_counts():
    assert image_size([module("Tower", norm=norm(64))], (PATCHES,), {"image_size": [960, 720]}) == (960, 720)
    assert image_size([module("Tower", norm=norm(64))], (PATCHES,), {}) == ()
