"""Which networks come from elsewhere, by their names."""

from __future__ import annotations

from models.adopt import weight_file
from models.spec import HUB, ModelSpec, names_file, names_pretrained


def foreign(name: str) -> bool:
    """Whether a teacher is no file of ours. InputError: a .safetensors file that cannot be read."""
    return names_pretrained(name) or (names_file(name) and not weight_file.is_ours(name))


def foreign_network(spec: ModelSpec) -> bool:
    """Whether training starts from weights that are no file of ours; a library's name means new weights, as ever."""
    return spec.name.startswith(HUB) or (names_file(spec.name) and not weight_file.is_ours(spec.name))
