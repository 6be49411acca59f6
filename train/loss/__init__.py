"""What a student is trained on: named terms and their weighted sum."""
