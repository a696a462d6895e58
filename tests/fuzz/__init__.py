"""The fuzzer itself: that it runs clean, and that it would find what it looks for."""
