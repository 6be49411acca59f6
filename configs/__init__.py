"""The YAML files, and the reader that turns them into typed, frozen dataclasses."""
