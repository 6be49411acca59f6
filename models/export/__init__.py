"""Export of saved networks to ONNX, checked against torch, and their latency."""
