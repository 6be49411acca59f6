"""Published weights: where they lie on this machine, and a download that fails within seconds without a network.

torchvision keeps its weights in $TORCH_HOME/hub/checkpoints, timm and the Hugging Face hub theirs in $HF_HOME/hub.
"""

from __future__ import annotations

import os
import socket
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

PATIENCE = 4.0
"""Seconds that a server may take to answer a connection; a firewall that drops packets takes minutes."""
TORCHVISION = "https://download.pytorch.org"


@contextmanager
def quickly(name: str) -> Iterator[None]:
    """Load published weights inside: where the server cannot be reached, from the cache alone.

    OSError: torchvision's server cannot be reached. (Its weights are looked for in the cache before.)
    """
    if name.startswith("torchvision/"):
        if not _cached(name) and not reachable(TORCHVISION):
            raise OSError(f"{TORCHVISION} cannot be reached")
        yield
        return
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    # The library asks five times, over half a minute, before it looks into its cache.
    constants.HF_HUB_OFFLINE = before or not reachable(constants.ENDPOINT)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def folder(name: str) -> Path:
    """Return where the weights of a network are looked for on this machine."""
    if name.startswith("torchvision/"):
        from torch import hub

        return Path(hub.get_dir()) / "checkpoints"
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def missing(name: str, error: BaseException) -> str:
    """Return the message about weights that could not be loaded: why, and how to bring them to this machine."""
    why = f"{type(error).__name__}: {str(error).partition(chr(10))[0].rstrip('.')[:160]}"
    variable = "TORCH_HOME" if name.startswith("torchvision/") else "HF_HOME"
    return (
        f"the pretrained weights of {name} could not be loaded ({why}). They are looked for in {folder(name)}, then on "
        f"the network. On a machine with a network, `python -m models.adopt {name} --output FILE.safetensors` writes "
        f"them into one file: copy it here and name it. Or copy that folder, and set {variable} to where it is"
    )


def _cached(name: str) -> bool:
    import torchvision

    try:
        url = torchvision.models.get_model_weights(name.rpartition("/")[2]).DEFAULT.url
    except (AttributeError, ValueError):
        return False
    return (folder(name) / str(url).rpartition("/")[2]).is_file()


def reachable(url: str) -> bool:
    """Whether a server accepts a connection; true behind a proxy, which is not asked."""
    address = urlsplit(url)
    if urllib.request.getproxies().get(address.scheme) or os.environ.get("ALL_PROXY"):
        return True
    answered: list[bool] = []

    def ask() -> None:
        host = (address.hostname or "", address.port or (443 if address.scheme == "https" else 80))
        try:
            socket.create_connection(host, timeout=PATIENCE).close()
            answered.append(True)
        except OSError:
            pass

    asking = Thread(target=ask, daemon=True)  # a name server that does not answer has no timeout of ours
    asking.start()
    asking.join(PATIENCE)
    return bool(answered)
