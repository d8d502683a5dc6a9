"""Evaluation: prompts by protocol, prediction, scoring with pycocotools."""
