"""Images → Predictions → Detections."""
