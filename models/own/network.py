"""Networks of the user's own code: the only place that executes it. B images, K classes."""

from __future__ import annotations

import ast
import difflib
import importlib
import inspect
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from configs.errors import InputError, UsageError, UserError
from models.own.code import Code
from models.probe import probe

RULE = "it is called with num_classes, in_channels (or in_chans) and input_CHW, those of them that its signature names"


def build(code: Code, kwargs: Mapping[str, Any], *, num_classes: int, input_CHW: tuple[int, int, int]) -> nn.Module:
    """Build a network of the user's own, in training mode.

    Its class or function is called with num_classes, in_channels (or in_chans) and input_CHW, those of them that its
    signature names, and with `kwargs`.
    UsageError: the code raises, with its file and line, or does not give logits of such images.
    """
    made = _callable(code)
    with _explained(code):
        named = inspect.signature(made).parameters
    known = {"num_classes": num_classes, "input_CHW": input_CHW}
    known |= dict.fromkeys(("in_channels", "in_chans"), input_CHW[0])
    given = {name: value for name, value in known.items() if name in named} | dict(kwargs)
    with _explained(code):
        net = made(**given)
    if not isinstance(net, nn.Module):
        raise UsageError(
            f"{code.path}: {code.callable} returns {type(net).__name__}, and must return a torch.nn.Module"
        )
    _require_logits(code, net, num_classes, input_CHW)
    return net.train()


def _callable(code: Code) -> Any:
    module = _module(code)
    made = getattr(module, code.callable, None)
    if not callable(made):
        names = [part.name for part in ast.parse(code.source).body if isinstance(part, ast.ClassDef | ast.FunctionDef)]
        close = difflib.get_close_matches(code.callable, names, n=1)
        hint = f"did you mean {close[0]}?" if close else f"it defines {', '.join(names) or 'no class or function'}"
        raise UsageError(f"{code.path} has no class or function {code.callable}; {hint}")
    return made


@cache
def _module(code: Code) -> ModuleType:
    """Execute a file, once, without changing torch's random state."""
    with torch.random.fork_rng(devices=[]), _explained(code):
        if code.module is not None:
            return importlib.import_module(code.module)
        name = f"{code.path.stem}_{code.sha256[:12]}"
        module = ModuleType(name)
        module.__file__ = str(code.path)
        sys.modules[name] = module  # dataclasses and torch.fx look modules up by name
        try:
            exec(compile(code.source, code.path, "exec"), vars(module))
        except BaseException:
            del sys.modules[name]
            raise
        return module


@contextmanager
def _explained(code: Code) -> Iterator[None]:
    """Turn an exception of the user's code into one line with its file and line."""
    try:
        yield
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise UsageError(_fault(code, error)) from error


def _fault(code: Code, error: BaseException) -> str:
    said = error.msg if isinstance(error, SyntaxError) else str(error).partition("\n")[0]
    what = f"{type(error).__name__}: {said}".rstrip(": ")
    if isinstance(error, SyntaxError):
        return f"{error.filename or code.path}, line {error.lineno}: {what}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(code.path)]
    text = f"{code.path}, line {frames[-1].lineno}: {what}" if frames else f"{code.path}: {code.callable}: {what}"
    if isinstance(error, ModuleNotFoundError) and (code.path.parent / f"{error.name}.py").is_file():
        return f"{text}; {error.name}.py lies beside it, but a run keeps one file: put all of the network into it"
    if isinstance(error, TypeError) and not frames:
        return f"{text}; {RULE}, and with kwargs"
    return text


def _require_logits(code: Code, net: nn.Module, classes: int, input_CHW: tuple[int, int, int]) -> None:
    """UsageError unless two images give a row of logits each; a forward in training mode must run, too."""
    if any(isinstance(parameter, UninitializedParameter) for parameter in net.parameters()):
        raise UsageError(f"{code.path}: {code.callable} has lazy layers; give all layers their sizes")
    size = " x ".join(map(str, input_CHW))
    try:
        found = probe(net, input_CHW, _shape, batch=2, purpose="its logits cannot be checked")
    except InputError as error:
        raise UsageError(f"{_fault(code, error.__cause__ or error)} (for images of {size}; {RULE})") from error
    if found != [2, classes]:
        shown = f"gives {found} for 2 images; {[2, classes]} would be right, a logit per class"
        raise UsageError(f"{code.path}: {code.callable} {shown}. Let it take num_classes, or give kwargs")


@torch.no_grad()
def _shape(net: nn.Module, image_BCHW: Tensor) -> list[int] | str:
    net.train()(image_BCHW)
    logits = net.eval()(image_BCHW)
    return list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
