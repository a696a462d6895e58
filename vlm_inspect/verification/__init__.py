"""Tensor names and shapes → LoadReport. No torch, no file, no network."""
