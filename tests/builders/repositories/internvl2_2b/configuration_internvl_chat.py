import copy

from transformers import LlamaConfig
from transformers.configuration_utils import PretrainedConfig
from transformers.utils import logging

from .configuration_intern_vit import InternVisionConfig
from .configuration_internlm2 import InternLM2Config

logger = logging.get_logger(__name__)


class InternVLChatConfig(PretrainedConfig):
    model_type = "internvl_chat"
    is_composition = True

    def __init__(self, vision_config=None, llm_config=None, select_layer=-1, downsample_ratio=0.5, template=None, **kwargs):
        super().__init__(**kwargs)
        if vision_config is None:
            vision_config = {}
            logger.info("vision_config is None.")
        if llm_config is None:
            llm_config = {"architectures": ["InternLM2ForCausalLM"]}
        self.vision_config = InternVisionConfig(**vision_config)
        if llm_config["architectures"][0] == "LlamaForCausalLM":
            self.llm_config = LlamaConfig(**llm_config)
        elif llm_config["architectures"][0] == "InternLM2ForCausalLM":
            self.llm_config = InternLM2Config(**llm_config)
        else:
            raise ValueError("Unsupported architecture: {}".format(llm_config["architectures"][0]))
        self.select_layer = select_layer
        self.downsample_ratio = downsample_ratio
        self.template = template
