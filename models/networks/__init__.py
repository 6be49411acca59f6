"""Networks by name: our own, torchvision's and timm's."""
