"""Files of torch.save, read by torch.load(weights_only=True) alone: nothing that a file names is imported or called.

What a checkpoint holds besides tensors, such as a trainer's settings, becomes inert stand-ins.
"""

from __future__ import annotations

import builtins
import pickle
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch._weights_only_unpickler import get_globals_in_pkl
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from configs.errors import InputError

OLD_PICKLES = 4
"""A file of torch.save before 1.6 begins with as many: magic number, version, system, content."""
HARMFUL = frozenset({"os", "posix", "nt", "sys", "subprocess", "shutil", "socket", "pty", "runpy", "importlib"})
"""Packages from which no checkpoint needs a name: a file that asks for one was made to do harm."""


class StandIn(list[Any]):
    """In place of an object whose class is not torch's: it takes any state and does nothing."""

    def __new__(cls, *_: Any, **__: Any) -> StandIn:
        """Take any arguments."""
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None: ...


class DictStandIn:
    """In place of a class of dicts: torch fills in none but plain ones."""

    def __new__(cls, *_: Any, **__: Any) -> OrderedDict[Any, Any]:  # type: ignore[misc]
        """Return an empty dict."""
        return OrderedDict()


def load(path: Path) -> Any:
    """Return what torch.save wrote, its tensors on the CPU. InputError: damaged, TorchScript, or unsafe."""
    whole = zipfile.is_zipfile(path)
    if whole:
        _refuse_script(path)
    names = _foreign_names(path, whole=whole)
    _refuse_harmful(path, names)
    # A class for each name: torch tells what it may call by identity, and errors tell classes by name.
    kinds: dict[str, type] = dict.fromkeys(names, StandIn)
    while True:
        stand_ins: list[Any] = [(type(f"<{name}>", (kind,), {}), name) for name, kind in kinds.items()]
        try:
            with safe_globals(stand_ins), warnings.catch_warnings(action="ignore"):
                return torch.load(path, map_location="cpu", weights_only=True, mmap=whole or None)
        except pickle.UnpicklingError as error:
            if not (filled := _filled_as_dict(error, kinds)):
                raise _refused(path, error, legacy=not whole) from error
            kinds[filled] = DictStandIn
        except Exception as error:  # a damaged file may raise nearly any error
            raise InputError(_damaged(path, error)) from error


def _filled_as_dict(error: Exception, kinds: Mapping[str, type]) -> str | None:
    """Return the name whose stand-in torch refused to fill as a dict; None: the error is another one."""
    names = (name for name, kind in kinds.items() if kind is StandIn)
    return next((name for name in names if "SETITEM" in str(error) and f"<{name}>" in str(error)), None)


def _refused(path: Path, error: Exception, *, legacy: bool) -> InputError:
    return InputError(_old_object(path) if legacy and _is_pickle(path) else _damaged(path, error))


def is_inert(value: object) -> bool:
    """Whether an object of the file was replaced by a stand-in."""
    return isinstance(value, StandIn)


def whole_model(path: Path, entry: str | None = None) -> str:
    """Return the refusal of a file that holds a pickled module, with the way to turn it into a state dict."""
    inside = f"[{entry!r}]" if entry is not None else ""
    return _pickled(path, inside, "model.state_dict()")


def _old_object(path: Path) -> str:
    """Return the refusal of an old file with a pickled module in it, of which torch reads nothing else either."""
    return _pickled(path, "", "model.state_dict() if hasattr(model, 'state_dict') else model")


def _pickled(path: Path, inside: str, kept: str) -> str:
    name = str(path)
    return (
        f"{name} holds a pickled object rather than a state dict, and opening it would run code of the file. If you "
        "trust it, turn it into a state dict where its class can be imported:\n"
        f"  model = torch.load({name!r}, map_location='cpu', weights_only=False){inside}\n"
        f"  torch.save({kept}, {str(path.with_name(f'{path.stem}_weights.pth'))!r})"
    )


def _refuse_script(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            script = any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError) as error:
        raise InputError(_damaged(path, error)) from error
    if script:
        raise InputError(
            f"{path} is TorchScript, a program rather than a state dict. If you trust it:\n"
            f"  model = torch.jit.load({str(path)!r}, map_location='cpu')\n"
            f"  torch.save(model.state_dict(), {str(path.with_name(f'{path.stem}_weights.pth'))!r})"
        )


def _foreign_names(path: Path, *, whole: bool) -> list[str]:
    """Return what a file asks for, as torch reads it; of an old file torch's own names too, which no stand-in hides."""
    try:
        if whole:
            return sorted(get_unsafe_globals_in_checkpoint(str(path)))
        with path.open("rb") as file:
            return sorted({name for _ in range(OLD_PICKLES) for name in get_globals_in_pkl(file)})
    except pickle.UnpicklingError as error:
        raise _refused(path, error, legacy=not whole) from error
    except Exception as error:  # a damaged file may raise nearly any error
        raise InputError(_damaged(path, error)) from error


def _refuse_harmful(path: Path, names: list[str]) -> None:
    if harmful := [name for name in names if _is_harmful(*name.rpartition(".")[::2])]:
        raise InputError(
            f"{path} asks for {harmful[0]} when it is opened, which weights do not need: it may do harm. Nothing of it "
            "was run; get the weights from somewhere else"
        )


def _is_harmful(module: str, name: str) -> bool:
    """Whether a name is a function of Python's own or of the system; its types, such as set, are harmless."""
    if module in ("builtins", "__builtin__"):
        return not isinstance(getattr(builtins, name, None), type)
    return module.partition(".")[0] in HARMFUL


def _is_pickle(path: Path) -> bool:
    """Whether a file begins as those of torch.save before 1.6, or as any pickle."""
    with path.open("rb") as file:
        return file.read(1) == b"\x80"


def _damaged(path: Path, error: Exception) -> str:
    why = str(error).partition("\n")[0].rstrip(".")[:200]
    if not why or "weights_only" in why:  # torch advises to execute the file
        why = type(error).__name__
    return f"{path} is damaged, cut short, or no file of torch.save ({why}); copy it again"
