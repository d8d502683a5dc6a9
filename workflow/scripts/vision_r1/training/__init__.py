"""Training with TRL: SFT, GRPO, checkpoints that survive an interruption."""
