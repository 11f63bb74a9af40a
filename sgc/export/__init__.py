"""A trained model as a file that runs without sgc: torch.export, ONNX, and a folder for the Hugging Face Hub."""
