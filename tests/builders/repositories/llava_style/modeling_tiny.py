"""LLaVA's first layout: the images are put between the pieces of the text by a mixin."""

from abc import ABC

import torch
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaForCausalLM, LlamaModel

IMAGE_TOKEN_INDEX = -200


class TinyConfig(LlamaConfig):
    model_type = "tiny_llava"

    def __init__(self, vision_config=None, **kwargs):
        self.vision_config = CLIPVisionConfig(**(vision_config or {}))
        super().__init__(**kwargs)


class TinyMetaModel:
    def __init__(self, config):
        super(TinyMetaModel, self).__init__(config)
        self.vision_tower = CLIPVisionModel(config.vision_config)
        self.mm_projector = nn.Sequential(
            nn.Linear(config.vision_config.hidden_size, config.hidden_size),
            nn.GELU(),
            nn.Linear(config.hidden_size, config.hidden_size),
        )


class TinyModel(TinyMetaModel, LlamaModel):
    config_class = TinyConfig


class TinyMetaForCausalLM(ABC):
    def encode_images(self, images):
        image_features = self.get_model().vision_tower(images).last_hidden_state
        return self.get_model().mm_projector(image_features)

    def prepare_inputs_labels_for_multimodal(self, input_ids, images):
        image_features = self.encode_images(images)
        new_input_embeds = []
        for batch_idx, cur_input_ids in enumerate(input_ids):
            num_images = (cur_input_ids == IMAGE_TOKEN_INDEX).sum()
            cur_input_embeds = self.get_model().embed_tokens(cur_input_ids)
            cur_input_embeds_no_im = torch.split(cur_input_embeds, 1, dim=0)
            cur_new_input_embeds = []
            for i in range(num_images + 1):
                cur_new_input_embeds.append(cur_input_embeds_no_im[i])
                if i < num_images:
                    cur_image_features = image_features[i]
                    cur_new_input_embeds.append(cur_image_features)
            cur_new_input_embeds = torch.cat(cur_new_input_embeds)
            new_input_embeds.append(cur_new_input_embeds)
        return None, torch.stack(new_input_embeds, dim=0)


class TinyForCausalLM(LlamaForCausalLM, TinyMetaForCausalLM):
    config_class = TinyConfig

    def __init__(self, config):
        super(LlamaForCausalLM, self).__init__(config)
        self.model = TinyModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_model(self):
        return self.model

    def forward(self, input_ids=None, inputs_embeds=None, images=None, **kwargs):
        if inputs_embeds is None:
            input_ids, inputs_embeds = self.prepare_inputs_labels_for_multimodal(input_ids, images)
        return super().forward(input_ids=input_ids, inputs_embeds=inputs_embeds, **kwargs)
