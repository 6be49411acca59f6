"""Where wandb would find a key, found out without wandb. The key itself is never returned."""

from __future__ import annotations

import netrc
from collections.abc import Mapping
from urllib.parse import urlsplit

from configs.errors import UsageError
from configs.home import expand

VARIABLES = ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE")
PUBLIC_SERVER = "https://api.wandb.ai"


def host(url: str | None) -> str:
    """The host of a server's URL, with its port if it names one; None: the public server's."""
    return urlsplit(url or PUBLIC_SERVER).netloc


def source(environment: Mapping[str, str], server: str) -> str | None:
    """The variable or the netrc file that has a key for a host; None: there is none."""
    for name in VARIABLES:
        if environment.get(name):
            return name
    named = environment.get("NETRC")
    for path in [named] if named else ["~/.netrc", "~/_netrc"]:
        try:
            file = expand(path)
            entry = netrc.netrc(file).authenticators(server)
        except (UsageError, OSError, netrc.NetrcParseError):
            continue  # the parser's message may quote the file, and the file holds keys
        if entry and entry[2]:
            return str(file)
    return None
