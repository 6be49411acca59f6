"""Networks of ours on the Hugging Face hub: hf-hub:OWNER/NAME, or hf-hub:OWNER/NAME@REVISION."""

from __future__ import annotations

from pathlib import Path

from configs.errors import InputError
from models.adopt import weight_file
from models.networks import published

FILE = "model.safetensors"
REMOTE = ("hf-hub:", "hf_hub:")


def is_remote(name: str) -> bool:
    """Whether a name is one on the hub."""
    return name.startswith(REMOTE)


def download(name: str) -> Path:
    """Return a repository's model.safetensors, from the cache or the network. InputError: neither has it."""
    from huggingface_hub import hf_hub_download

    repo, _, revision = name.partition(":")[2].partition("@")
    try:
        with published.quickly(name):
            return Path(hf_hub_download(repo, FILE, revision=revision or None))
    except Exception as error:  # whatever the library or the network raises
        raise InputError(published.missing(name, error)) from error


def find(name: str) -> Path | None:
    """Return the file of a network of ours; None: it is no name on the hub, or one of another library."""
    if not is_remote(name):
        return None
    try:
        path = download(name)
        return path if weight_file.is_ours(path) else None
    except InputError:
        return None
