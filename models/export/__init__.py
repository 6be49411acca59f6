"""A saved network as one ONNX file, proved equal and timed."""
