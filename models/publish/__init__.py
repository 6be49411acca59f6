"""Publishing on the Hugging Face hub."""
