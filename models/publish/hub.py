"""A repository of the Hugging Face hub: looked at, made and filled. Tokens are never shown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from huggingface_hub import HfApi, constants, get_token
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from configs.errors import UnavailableError, UsageError, UserError
from configs.release import version
from models.card.hub_data import LIBRARY
from models.networks import published
from models.publish.contents import Contents

OWN = (".gitattributes",)
"""Files that the hub puts into a new repository."""
TOKEN = "it comes from `hf auth login` or $HF_TOKEN, and must be one that may write"


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """What has become of it."""

    url: str
    private: bool
    created: bool


def send(contents: Contents, repo: str, *, public: bool) -> Sent:
    """Send files to a repository, which is made if it is not there.

    UnavailableError: there is no token, the hub cannot be reached, or it refuses. UsageError: the repository is public
    and that was not asked for, or it holds something else.
    """
    api = HfApi(endpoint=constants.ENDPOINT, token=_token(), library_name=LIBRARY, library_version=version())
    _require_reachable()
    with _explained(repo):
        who = str(api.whoami()["name"])
    with _explained(repo, who):
        known = _existing(api, repo)
        if known is not None:
            _require_ours(known, repo)
            _require_visibility(known, repo, public=public)
        else:
            api.create_repo(repo, private=not public)
        api.upload_folder(
            repo_id=repo,
            folder_path=contents.folder,
            allow_patterns=list(contents.names),
            commit_message="Update the network" if known is not None else "Add the network",
        )
    private = not public if known is None else bool(known.private)
    return Sent(url=f"{constants.ENDPOINT}/{repo}", private=private, created=known is None)


def _token() -> str:
    try:
        token = get_token()
    except Exception as error:  # whatever a library raises; its message may quote a file that holds the token
        raise UnavailableError(f"the token of the Hugging Face hub cannot be read; {TOKEN}") from error
    if token is None:
        raise UnavailableError(f"there is no token of the Hugging Face hub here; {TOKEN}")
    return token


def _require_reachable() -> None:
    if constants.HF_HUB_OFFLINE:
        raise UnavailableError("HF_HUB_OFFLINE is set, so that nothing can be sent; unset it")
    if not published.reachable(constants.ENDPOINT):
        raise UnavailableError(f"{constants.ENDPOINT} cannot be reached; --dry_run needs no network")


def _existing(api: HfApi, repo: str) -> Any:
    """Return what the hub knows of a repository; None: it is not there, or not for us to see."""
    try:
        return api.model_info(repo)
    except RepositoryNotFoundError:
        return None


def _require_ours(known: Any, repo: str) -> None:
    """UsageError if it holds files, and no network of Heartcut: they would be replaced."""
    held = [file.rfilename for file in known.siblings or [] if file.rfilename not in OWN]
    if held and LIBRARY not in (known.library_name, *(known.tags or [])):
        raise UsageError(
            f"--repo is {repo!r}, which holds something else than a network of Heartcut ({', '.join(held[:4])}"
            f"{', ...' * (len(held) > 4)}); choose another name, or delete it on the hub"
        )


def _require_visibility(known: Any, repo: str, *, public: bool) -> None:
    if not known.private and not public:
        raise UsageError(f"--repo is {repo!r}, which everybody can see; give --public, or choose another name")


@contextmanager
def _explained(repo: str, who: str | None = None) -> Iterator[None]:
    """Turn what the library raises into errors of the user, without what was sent."""
    try:
        yield
    except UserError:
        raise
    except HfHubHTTPError as error:
        raise UnavailableError(_refusal(error, repo, who)) from error
    except Exception as error:  # whatever a library or a network raises
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0][:160]}"
        raise UnavailableError(f"{constants.ENDPOINT} does not answer as it should ({reason}); try again") from error


def _refusal(error: HfHubHTTPError, repo: str, who: str | None) -> str:
    code = error.response.status_code
    said = f" ({str(error.server_message).partition(chr(10))[0][:160]})" if error.server_message else ""
    if code == 401:
        return f"the hub does not accept the token{said}; {TOKEN}"
    if code in (403, 404, 409):
        return (
            f"the hub does not let {who or 'the owner of the token'} write to {repo}{said}: it is somebody "
            f"else's, or the token may not write ({TOKEN})"
        )
    return f"the hub refuses with status {code}{said}; try again later"
