"""Data sets: synthetic scenes, COCO-format annotations, curation of the training mixture."""
