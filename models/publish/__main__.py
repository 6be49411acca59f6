"""Publish a saved network with its model card on the Hugging Face hub.

python -m models.publish --model runs/flowers/student --repo alice/flowers --dry_run
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from configs import reader
from configs.shown import printable
from models.publish import options

if TYPE_CHECKING:
    from models.publish.contents import Contents


def main(words: list[str] | None = None) -> None:
    """Show what is sent, and send it. UserError: something is wrong with the files, the repository or the hub."""
    asked = options.parse(words)
    from models.publish import contents, hub  # torch is loaded only for a command line that holds

    with tempfile.TemporaryDirectory(prefix="heartcut-publish-") as folder:
        ready = contents.prepare(
            asked.weights, Path(folder), repo=asked.repo, license_id=asked.license_id, added=asked.added
        )
        print(_listing(ready, asked))
        if asked.dry_run:
            print("nothing was sent (--dry_run)")
            return
        sys.stdout.flush()
        sent = hub.send(ready, asked.repo, public=asked.public)
    seen = "private" if sent.private else "public"
    print(printable(f"sent to {sent.url} ({'new, ' * sent.created}{seen})"))
    if sent.private and asked.public:
        print("it was private and stays so; that is changed in its settings on the hub")
    print(f'to load it: heartcut.load("hf-hub:{asked.repo}"), or as a teacher: --teacher hf-hub:{asked.repo}')


def _listing(ready: Contents, asked: options.Options) -> str:
    sizes = ready.sizes()
    width, digits = max(map(len, sizes)), max(len(f"{size:,}") for size in sizes.values())
    lines = [f"to {asked.repo}, {'public' if asked.public else 'private'}:"]
    lines += [f"  {name:{width}}  {size:{digits},} bytes" for name, size in sizes.items()]
    return printable("\n".join([*lines, *ready.notes]))


if __name__ == "__main__":
    reader.command(main)
