"""Checkpoints of the transformers library, key by key as timm's modules: ViT, DeiT, DINOv2 and Swin."""
