"""Data sets: made scenes, COCO-format annotations, curation of the training mixture."""
