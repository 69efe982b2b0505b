"""Sizes of published checkpoints, as their configurations on the hub give them; data only.

Where a machine is small, a part may be built with fewer layers of the real width
(:mod:`razor_pipeline.families.untrained`).
"""

from __future__ import annotations

from typing import Any

CLIP_B_TEXT = {
    "hidden_size": 512,
    "intermediate_size": 2048,
    "num_attention_heads": 8,
    "num_hidden_layers": 12,
    "projection_dim": 512,
    "vocab_size": 49408,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
}
CLIP_L_TEXT = CLIP_B_TEXT | {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_attention_heads": 12,
    "projection_dim": 768,
}
CLIP_BIG_G_TEXT = CLIP_B_TEXT | {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_attention_heads": 20,
    "num_hidden_layers": 32,
    "projection_dim": 1280,
    "hidden_act": "gelu",
}
CLIP_L_VISION = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_attention_heads": 16,
    "num_hidden_layers": 24,
    "projection_dim": 768,
    "image_size": 224,
    "patch_size": 14,
    "hidden_act": "quick_gelu",
}
VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "norm_num_groups": 32,
}

PUBLISHED: dict[str, dict[str, Any]] = {
    # openai/clip-vit-base-patch32
    "clip_b32": {
        "family": "clip",
        "text": CLIP_B_TEXT,
        "vision": {
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_attention_heads": 12,
            "num_hidden_layers": 12,
            "projection_dim": 512,
            "image_size": 224,
            "patch_size": 32,
            "hidden_act": "quick_gelu",
        },
    },
    # openai/clip-vit-large-patch14
    "clip_l14": {"family": "clip", "text": CLIP_L_TEXT, "vision": CLIP_L_VISION},
    # google/vit-base-patch16-224
    "vit_b16": {
        "family": "vit",
        "vision": {
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_attention_heads": 12,
            "num_hidden_layers": 12,
            "image_size": 224,
            "patch_size": 16,
        },
    },
    # stable-diffusion-v1-5; levels of the U-Net: 320, 640, 1280, 1280
    "sd15": {
        "family": "diffusion",
        "text": CLIP_L_TEXT,
        "vae": VAE | {"latent_channels": 4, "scaling_factor": 0.18215, "sample_size": 512},
        "denoiser": {
            "in_channels": 4,
            "out_channels": 4,
            "block_out_channels": (320, 640, 1280, 1280),
            "layers_per_block": 2,
            "attention_head_dim": 8,
            "cross_attention_dim": 768,
        },
    },
    # stabilityai/stable-diffusion-3-medium-diffusers, without T5
    "sd3": {
        "family": "diffusion3",
        "text": CLIP_L_TEXT,
        "text_2": CLIP_BIG_G_TEXT,
        "vae": VAE
        | {
            "latent_channels": 16,
            "scaling_factor": 1.5305,
            "shift_factor": 0.0609,
            "sample_size": 1024,
            "use_quant_conv": False,
            "use_post_quant_conv": False,
        },
        "denoiser": {
            "in_channels": 16,
            "out_channels": 16,
            "patch_size": 2,
            "num_layers": 24,
            "num_attention_heads": 24,
            "attention_head_dim": 64,
            "caption_projection_dim": 1536,
            "joint_attention_dim": 4096,
            "pooled_projection_dim": 2048,
            "pos_embed_max_size": 192,
        },
    },
    # llava-hf/llava-1.5-7b-hf
    "llava": {
        "family": "vlm",
        "vision": CLIP_L_VISION | {"image_size": 336},
        "language": {
            "hidden_size": 4096,
            "intermediate_size": 11008,
            "num_attention_heads": 32,
            "num_key_value_heads": 32,
            "num_hidden_layers": 32,
            "vocab_size": 32064,
            "max_position_embeddings": 4096,
            "rms_norm_eps": 1e-05,
        },
    },
}
