from copy import deepcopy
from dataclasses import dataclass, field
from typing import Optional, Tuple

import torch
from torch import nn
from transformers.modeling_utils import PreTrainedModel

from .config_molmo import MolmoConfig


@dataclass
class VisionBackboneConfig:
    image_default_input_size: Tuple[int, int] = (336, 336)
    image_patch_size: int = 14
    image_emb_dim: int = 1024
    image_num_heads: int = 16
    image_num_key_value_heads: int = 16
    image_num_layers: int = 23
    image_head_dim: int = 64
    image_mlp_dim: int = 4096
    image_num_pos: int = 577
    image_norm_eps: float = 1e-5

    @property
    def image_num_patch(self):
        h, w = self.image_default_input_size
        return h // self.image_patch_size, w // self.image_patch_size


@dataclass
class FullMolmoConfig:
    d_model: int = 768
    n_heads: int = 12
    n_kv_heads: Optional[int] = None
    qkv_bias: bool = False
    n_layers: int = 12
    mlp_hidden_size: Optional[int] = None
    block_type: str = "sequential"
    block_group_size: int = 1
    layer_norm_type: str = "rms"
    weight_tying: bool = True
    vocab_size: int = 50257
    embedding_size: Optional[int] = 50304
    additional_vocab_size: Optional[int] = 128
    embedding_dropout: float = 0.0
    vision_backbone: Optional[VisionBackboneConfig] = field(default_factory=VisionBackboneConfig)
    vit_layers: Tuple = (-2, -9)
    image_padding_embed: Optional[str] = "pad_and_partial_pad"

    @property
    def effective_n_kv_heads(self):
        return self.n_heads if self.n_kv_heads is None else self.n_kv_heads


class LayerNormBase(nn.Module):
    def __init__(self, config, *, size=None, elementwise_affine=True, eps=1e-5):
        super().__init__()
        self.config = config
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(size or config.d_model))

    @classmethod
    def build(cls, config, size=None, **kwargs):
        if config.layer_norm_type == "default":
            return LayerNorm(config, size=size, **kwargs)
        elif config.layer_norm_type == "rms":
            return RMSLayerNorm(config, size=size, **kwargs)
        else:
            raise NotImplementedError(f"Unknown LayerNorm type: '{config.layer_norm_type}'")


class RMSLayerNorm(LayerNormBase):
    pass


class LayerNorm(LayerNormBase):
    pass


class Embedding(nn.Module):
    def __init__(self, num_embeddings, num_new_embeddings, features):
        super().__init__()
        self.embedding = nn.Parameter(torch.zeros(num_embeddings, features))
        self.new_embedding = nn.Parameter(torch.zeros(num_new_embeddings, features))


class Dropout(nn.Dropout):
    pass


class SwiGLU(nn.Module):
    output_multiplier = 0.5


class MolmoBlock(nn.Module):
    def __init__(self, layer_id, config):
        super().__init__()
        self.layer_id = layer_id
        self.config = config
        self.dropout = Dropout(0.0)
        self.act = SwiGLU()
        self.attn_out = nn.Linear(config.d_model, config.d_model, bias=False)
        self.ff_out = nn.Linear(int(self.act.output_multiplier * config.mlp_hidden_size), config.d_model, bias=False)

    @classmethod
    def build(cls, layer_id, config):
        if config.block_type == "sequential":
            return MolmoSequentialBlock(layer_id, config)
        else:
            raise NotImplementedError(f"Unknown block type: '{config.block_type}'")


class MolmoSequentialBlock(MolmoBlock):
    def __init__(self, layer_id, config):
        super().__init__(layer_id, config)
        self.attn_norm = LayerNormBase.build(config)
        self.ff_norm = LayerNormBase.build(config)
        head_dim = config.d_model // config.n_heads
        self.fused_dims = (config.d_model, config.effective_n_kv_heads * head_dim, config.effective_n_kv_heads * head_dim)
        self.att_proj = nn.Linear(config.d_model, sum(self.fused_dims), bias=config.qkv_bias)
        self.ff_proj = nn.Linear(config.d_model, config.mlp_hidden_size, bias=False)


class MultiHeadDotProductAttention(nn.Module):
    def __init__(self, config, use_bias=True, is_vit_layer=True):
        super().__init__()
        v_cfg = config.vision_backbone
        self.embed_dim = v_cfg.image_emb_dim
        self.num_heads = v_cfg.image_num_heads
        self.head_dim = v_cfg.image_head_dim
        nlayers = 1 if (is_vit_layer or config.vit_layers is None) else len(config.vit_layers)
        self.wq = nn.Linear(nlayers * self.embed_dim, self.num_heads * self.head_dim, bias=use_bias)
        self.wk = nn.Linear(nlayers * self.embed_dim, self.num_heads * self.head_dim, bias=use_bias)
        self.wv = nn.Linear(nlayers * self.embed_dim, self.num_heads * self.head_dim, bias=use_bias)
        self.wo = nn.Linear(self.num_heads * self.head_dim, self.embed_dim, bias=use_bias)


class ViTMLP(nn.Module):
    def __init__(self, config):
        super().__init__()
        v_cfg = config.vision_backbone
        self.w1 = nn.Linear(v_cfg.image_emb_dim, v_cfg.image_mlp_dim, bias=True)
        self.act = nn.GELU()
        self.w2 = nn.Linear(v_cfg.image_mlp_dim, v_cfg.image_emb_dim, bias=True)


class ResidualAttentionBlock(nn.Module):
    def __init__(self, config):
        super().__init__()
        v_cfg = config.vision_backbone
        self.attention = MultiHeadDotProductAttention(config)
        self.feed_forward = ViTMLP(config)
        self.attention_norm = nn.LayerNorm(v_cfg.image_emb_dim, eps=v_cfg.image_norm_eps)
        self.ffn_norm = nn.LayerNorm(v_cfg.image_emb_dim, eps=v_cfg.image_norm_eps)


class BlockCollection(nn.Module):
    def __init__(self, config):
        super().__init__()
        v_cfg = config.vision_backbone
        self.resblocks = nn.ModuleList([ResidualAttentionBlock(config) for _ in range(v_cfg.image_num_layers)])


class VisionTransformer(nn.Module):
    def __init__(self, config):
        super().__init__()
        v_cfg = config.vision_backbone
        self.class_embedding = nn.Parameter(torch.randn(v_cfg.image_emb_dim))
        self.positional_embedding = nn.Parameter(torch.zeros(v_cfg.image_num_pos, v_cfg.image_emb_dim))
        patch = v_cfg.image_patch_size
        self.patch_embedding = nn.Linear(patch * patch * 3, v_cfg.image_emb_dim, bias=False)
        self.pre_ln = nn.LayerNorm(v_cfg.image_emb_dim, eps=v_cfg.image_norm_eps)
        self.transformer = BlockCollection(config)


class MLP(nn.Module):
    def __init__(self, config, input_dim):
        super().__init__()
        self.hidden_size = config.mlp_hidden_size
        self.w1 = nn.Linear(input_dim, self.hidden_size // 2, bias=False)
        self.w2 = nn.Linear(self.hidden_size // 2, config.d_model, bias=False)
        self.w3 = nn.Linear(input_dim, self.hidden_size // 2, bias=False)
        self.act = nn.SiLU()


class MolmoPretrainedVisionBackbone(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        v_cfg = config.vision_backbone
        self.image_vit = VisionTransformer(config)
        self.image_pooling_2d = MultiHeadDotProductAttention(config, is_vit_layer=False)
        self.image_projector = MLP(config, v_cfg.image_emb_dim)
        self.image_feature_dropout = Dropout(0.0)
        self.pad_embed = None
        if config.image_padding_embed:
            n = 2 if config.image_padding_embed == "pad_and_partial_pad" else 1
            self.pad_embed = nn.Parameter(torch.zeros((n, v_cfg.image_emb_dim * len(config.vit_layers))))

    @classmethod
    def build(cls, config):
        return MolmoPretrainedVisionBackbone(config)


class Molmo(nn.Module):
    def __init__(self, config, init_params=True):
        super().__init__()
        self.config = config
        self.transformer = nn.ModuleDict(
            dict(
                wte=Embedding(config.embedding_size or config.vocab_size, config.additional_vocab_size, config.d_model),
                emb_drop=Dropout(config.embedding_dropout),
                ln_f=LayerNormBase.build(config),
            )
        )
        blocks = [MolmoBlock.build(i, config) for i in range(config.n_layers)]
        if self.config.block_group_size > 1:
            raise NotImplementedError()
        else:
            self.transformer.update({"blocks": nn.ModuleList(blocks)})
        if not config.weight_tying:
            self.transformer.update({"ff_out": nn.Linear(config.d_model, config.embedding_size, bias=False)})
        self.vision_backbone = None
        if config.vision_backbone is not None:
            self.vision_backbone = MolmoPretrainedVisionBackbone.build(config)


class MolmoForCausalLM(PreTrainedModel):
    config_class = MolmoConfig
    base_model_prefix = "model"

    def __init__(self, config: MolmoConfig, model: Optional[Molmo] = None, init_params: bool = False):
        super().__init__(config)
        if not model:
            full_config = FullMolmoConfig(
                qkv_bias=config.qkv_bias,
                vocab_size=config.vocab_size,
                embedding_size=config.embedding_size,
                mlp_hidden_size=config.intermediate_size,
                d_model=config.hidden_size,
                n_heads=config.num_attention_heads,
                n_kv_heads=config.num_key_value_heads,
                n_layers=config.num_hidden_layers,
                weight_tying=config.weight_tying,
            )
            self.model = Molmo(full_config, init_params=init_params)
        else:
            self.model = model
