"""Login check and creation of sweeps on a wandb server."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import wandb

from configs.errors import UnavailableError, UsageError
from launch import wandb_key
from train.config import TrackSpec


class ServerError(UnavailableError):
    """wandb does not answer, or refuses."""


def require_login() -> None:
    """UsageError: wandb is offline, or has no key. Nothing is sent."""
    mode = os.environ.get("WANDB_MODE", "online")
    if mode != "online":
        raise UsageError(
            f"WANDB_MODE is {mode}, and a sweep lives on a server; --check needs none, and launch.submit too"
        )
    host = wandb_key.host(wandb.setup().settings.base_url)
    if wandb_key.source(os.environ, host) is None:
        raise UsageError(
            f"there is no key for {host}; run `wandb login`, or set WANDB_API_KEY. --check needs none, and "
            "launch.submit runs grids and random sweeps without wandb"
        )


def create(config: Mapping[str, Any]) -> str:
    """Create a sweep; ENTITY/PROJECT/SWEEP. ServerError: it could not be."""
    project = config.get("project") or os.environ.get("WANDB_PROJECT") or TrackSpec().project
    try:
        sweep = wandb.sweep(dict(config), entity=config.get("entity"), project=project)
    except (wandb.Error, ValueError, OSError) as error:
        raise ServerError(f"wandb does not create the sweep: {error}") from error
    place = (os.environ.get("WANDB_ENTITY"), os.environ.get("WANDB_PROJECT"), sweep)  # as wandb.sweep leaves them
    return "/".join(part for part in place if part)
