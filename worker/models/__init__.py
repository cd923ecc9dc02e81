"""A trained model: its files, the format of its tensors, the registry of a home, ONNX."""
