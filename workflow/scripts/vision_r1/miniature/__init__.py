"""The miniature: a tiny Qwen2.5-VL with its own tokenizer, trained from scratch on synthetic scenes."""
