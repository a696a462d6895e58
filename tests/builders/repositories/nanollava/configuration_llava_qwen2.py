from transformers import Qwen2Config


class LlavaQwen2Config(Qwen2Config):
    model_type = "llava-qwen2"
