import torch
from torch import nn


class VisionTokenizer(nn.Module):
    def __init__(self, dim_media, num_tokens_per_media):
        super().__init__()
        self.dim_media = dim_media
        self.num_tokens_per_media = num_tokens_per_media


class PerceiverAttention(nn.Module):
    def __init__(self, *, dim, dim_head=64, heads=8):
        super().__init__()
        self.scale = dim_head**-0.5
        self.heads = heads
        inner_dim = dim_head * heads
        self.norm_media = nn.LayerNorm(dim)
        self.norm_latents = nn.LayerNorm(dim)
        self.to_q = nn.Linear(dim, inner_dim, bias=False)
        self.to_kv = nn.Linear(dim, inner_dim * 2, bias=False)
        self.to_out = nn.Linear(inner_dim, dim, bias=False)


def FeedForward(dim, mult=4):
    inner_dim = int(dim * mult)
    return nn.Sequential(
        nn.LayerNorm(dim),
        nn.Linear(dim, inner_dim, bias=False),
        nn.GELU(),
        nn.Linear(inner_dim, dim, bias=False),
    )


class PerceiverResampler(VisionTokenizer):
    def __init__(self, *, dim, dim_inner=None, depth=6, dim_head=96, heads=16, num_latents=128, ff_mult=4):
        if dim_inner is not None:
            projection = nn.Linear(dim, dim_inner)
        else:
            projection = None
            dim_inner = dim
        super().__init__(dim_media=dim, num_tokens_per_media=num_latents)
        self.projection = projection
        self.latents = nn.Parameter(torch.randn(num_latents, dim))
        self.layers = nn.ModuleList([])
        for _ in range(depth):
            self.layers.append(
                nn.ModuleList(
                    [PerceiverAttention(dim=dim, dim_head=dim_head, heads=heads), FeedForward(dim=dim, mult=ff_mult)]
                )
            )
        self.norm = nn.LayerNorm(dim)


class DecoupledEmbedding(nn.Embedding):
    def __init__(self, max_original_id, num_additional_embeddings=0, _weight=None, num_original_embeddings=None,
                 embedding_dim=None, partially_freeze=True, device=None, dtype=None, pad_token_id=None):
        super().__init__(num_original_embeddings, embedding_dim, device=device, dtype=dtype, _weight=_weight)
        self.max_original_id = max_original_id
        self.num_additional_embeddings = num_additional_embeddings
        if self.num_additional_embeddings > 0:
            self.additional_embedding = nn.Embedding(num_additional_embeddings, embedding_dim)


class DecoupledLinear(nn.Linear):
    def __init__(self, max_original_id, additional_out_features=0, _weight=None, _bias=None, in_features=None,
                 original_out_features=None, bias=True, partially_freeze=True, device=None, dtype=None):
        super().__init__(in_features, original_out_features, bias, device, dtype)
        self.max_original_id = max_original_id
        self.additional_out_features = additional_out_features
        if additional_out_features > 0:
            self.additional_fc = nn.Linear(in_features, additional_out_features, bias=bias)


class VLM(nn.Module):
    def __init__(self, vision_encoder, vision_tokenizer, lang_model, initial_tokenizer_len, pad_token_id):
        super().__init__()
        self.lang_embedding_dim = lang_model.get_input_embeddings().weight.shape[1]
        self.vision_encoder = vision_encoder
        self.vision_tokenizer = vision_tokenizer
        self.lang_model = lang_model
        self.initial_tokenizer_len = initial_tokenizer_len
        input_embeds = DecoupledEmbedding(
            max_original_id=initial_tokenizer_len - 1,
            num_additional_embeddings=len(self.special_tokens),
            _weight=self.lang_model.get_input_embeddings().weight,
            pad_token_id=pad_token_id,
        )
        self.lang_model.set_input_embeddings(input_embeds)
        out_embeds = DecoupledLinear(
            max_original_id=initial_tokenizer_len - 1,
            additional_out_features=len(self.special_tokens),
            _weight=self.lang_model.get_output_embeddings().weight,
        )
        self.lang_model.set_output_embeddings(out_embeds)
        self.vision_tokenizer._use_gradient_checkpointing = False


class VLMWithLanguageStream(VLM):
    def __init__(self, vision_encoder, vision_tokenizer, lang_model, initial_tokenizer_len, pad_token_id):
        super().__init__(
            vision_encoder=vision_encoder,
            vision_tokenizer=vision_tokenizer,
            lang_model=lang_model,
            initial_tokenizer_len=initial_tokenizer_len,
            pad_token_id=pad_token_id,
        )


class XGenMMPerceiver(VLMWithLanguageStream):
    def __init__(self, vision_encoder, vision_tokenizer, lang_model, initial_tokenizer_len, pad_token_id):
        self._special_tokens = {"media_token": "<image>", "image_placeholder_token": "<image placeholder>"}
        super().__init__(vision_encoder, vision_tokenizer, lang_model, initial_tokenizer_len, pad_token_id)

    @property
    def special_tokens(self):
        return self._special_tokens
