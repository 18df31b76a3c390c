"""The names of the files and folders in a run folder."""

from __future__ import annotations

CONFIG = "config.yaml"
CHANGES = "changes.jsonl"
ENVIRONMENT = "environment.json"
METRICS = "metrics.jsonl"
TENSORBOARD = "tensorboard"
CHECKPOINTS = "checkpoints"
DIVISION = "division.json"
HEADERS = "image_headers.json"
UNREADABLE = "unreadable.txt"
RUNNING = "running.json"

DETECTIONS = "detections.json"
COCO_RESULTS = "coco_results.json"
COCO_IMAGES = "coco_images.json"
EVALUATION = "evaluation.json"
EVALUATIONS = "evaluations"
REPORT = "report.html"
DRAWN = "drawn.json"
DATA_CHECK = "data_check.json"

SPIKES = "spikes.json"
SPIKES_PAGE = "spikes.html"
SPIKES_PICTURE = "spikes.png"
