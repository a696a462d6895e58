from transformers import PretrainedConfig, Qwen2Config

from .modeling_navit_siglip import SiglipVisionConfig


class MiniCPMVConfig(Qwen2Config):
    model_type = "minicpmv"
    default_vision_config = {
        "hidden_size": 1152,
        "image_size": 980,
        "intermediate_size": 4304,
        "model_type": "siglip",
        "num_attention_heads": 16,
        "num_hidden_layers": 27,
        "patch_size": 14,
    }

    def __init__(self, use_cache=True, query_num=64, image_size=448, drop_vision_last_layer=True, vision_config=None, **kwargs):
        self.use_cache = use_cache
        self.query_num = query_num
        self.image_size = image_size
        self.drop_vision_last_layer = drop_vision_last_layer
        if vision_config is None:
            self.vision_config = SiglipVisionConfig(**self.default_vision_config)
        elif isinstance(vision_config, dict):
            self.vision_config = SiglipVisionConfig(**vision_config)
        elif isinstance(vision_config, SiglipVisionConfig):
            self.vision_config = vision_config
        super().__init__(**kwargs)
