"""Evaluation: prompts by protocol, prediction, scoring as pycocotools does."""
