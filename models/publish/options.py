"""Command line of models.publish. Free of torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from configs.arguments import Parser
from configs.errors import UsageError
from models.card import options as card_options

DESCRIPTION = """Send a saved network to a repository of the Hugging Face hub: model.safetensors, a model card that is
written from its header, and the .onnx and plain PyTorch files beside it that were exported from it. Nothing else of the
folder is sent, and paths of this machine are taken out of the header. The repository is private unless --public is
given."""
REPO = re.compile(r"[A-Za-z0-9_][\w.-]{0,95}/[A-Za-z0-9_][\w.-]{0,95}", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """The command line."""

    weights: Path
    repo: str
    public: bool
    license_id: str | None
    added: tuple[Path, ...]
    dry_run: bool


def parse(words: Sequence[str] | None) -> Options:
    """Parse the command line. UsageError: it is wrong. InputError: a file that it names is missing."""
    parser = Parser(prog="python -m models.publish", description=DESCRIPTION)
    parser.add_argument("--model", required=True, metavar="FILE|FOLDER", help="the saved network, or its run folder")
    parser.add_argument("--repo", required=True, metavar="OWNER/NAME", help="the repository; it is made if need be")
    parser.add_argument("--public", action="store_true", help="let everybody see it (default: private)")
    parser.add_argument(
        "--add",
        action="append",
        default=[],
        metavar="FILE",
        help="a further file of the folder, sent as it is, such as the code of a network of your own, or a README.md "
        "that you wrote in place of the card; may be given again",
    )
    parser.add_argument("--dry_run", action="store_true", help="show what would be sent, and send nothing")
    card_options.add_license(parser)
    found = parser.parse_args(words)
    require_repo(found.repo)
    license_id = card_options.require_license(found.license)
    weights = card_options.weights_file(found.model)
    added = tuple(_added(weights.parent, name) for name in found.add)
    if license_id and any(path.name == "README.md" for path in added):
        raise UsageError("--license is written into the model card, and --add README.md replaces that; leave one out")
    return Options(
        weights=weights,
        repo=found.repo,
        public=found.public,
        license_id=license_id,
        added=added,
        dry_run=found.dry_run,
    )


def require_repo(name: str) -> None:
    """UsageError unless this may be the name of a repository."""
    wrong = not REPO.fullmatch(name) or "--" in name or ".." in name or name.endswith((".git", ".", "-"))
    if wrong or name.partition("/")[0].endswith((".", "-")):
        raise UsageError(
            f"--repo is {name!r}; it must be OWNER/NAME, such as alice/flowers, of letters, digits, -, _ and . (up to "
            "96 each, no -- or .., no - or . at the ends, not ending in .git)"
        )


def _added(folder: Path, name: str) -> Path:
    """Return a file that is named as one of the folder, or from here."""
    for path in (folder / name, Path(name)):
        if path.is_file():
            return path
    what = "is a folder" if (folder / name).is_dir() else "is not there"
    raise UsageError(f"--add is {name!r}, which {what}; name a file of {folder}")
