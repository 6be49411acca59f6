"""The forward of one module, written out as Python source: torch.fx follows it with its child modules as they are."""

from __future__ import annotations

import inspect
import operator
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from configs.errors import InputError
from models.export.constructors import container, indented, literal

INFIX = {
    **{operator.add: "+", operator.sub: "-", operator.mul: "*", operator.truediv: "/", operator.floordiv: "//"},
    **{operator.mod: "%", operator.pow: "**", operator.matmul: "@", operator.and_: "&", operator.or_: "|"},
    **{operator.eq: "==", operator.ne: "!=", operator.lt: "<", operator.le: "<=", operator.gt: ">", operator.ge: ">="},
}
IN_PLACE = {operator.iadd: "+=", operator.isub: "-=", operator.imul: "*=", operator.itruediv: "/="}
SILENT = (*INFIX, operator.getitem, operator.neg, getattr)
"""Functions whose result is all that they do."""


@dataclass(frozen=True)
class Call:
    """How a module is called: by parameter of its forward, whether it is a tensor, or the constant that it is."""

    traced: tuple[str, ...]
    constants: Mapping[str, Any]

    @classmethod
    def of(cls, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
        """Sort what a forward was given. InputError: it takes any number of arguments, or others than plain ones."""
        signature = inspect.signature(type(module).forward)
        bound = signature.bind(module, *args, **kwargs)
        bound.apply_defaults()
        traced, constants = [], {}
        for name, value in list(bound.arguments.items())[1:]:
            kind = signature.parameters[name].kind
            if kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
                if value:
                    raise InputError("its forward takes any number of arguments")
            elif _holds_tensor(value):
                traced.append(name)
            else:
                literal(value)
                constants[name] = value
        return cls(tuple(traced), constants)


def source(module: nn.Module, how: Call) -> str:
    """Return `def forward(self, ...)` for training and evaluation. InputError: torch.fx cannot follow it."""
    modes = module.training
    try:
        training, evaluation = (_body(module.train(mode), how) for mode in (True, False))
    finally:
        module.train(modes)
    parameters = ["self", *how.traced, *(f"{name}={literal(value)}" for name, value in how.constants.items())]
    body = _merged(training, evaluation)
    return f"def forward({', '.join(parameters)}):\n{indented(body)}"


def access(root: nn.Module, target: str, start: str = "self") -> str:
    """Return the expression for a submodule, parameter or buffer by its dotted name, as in self.stages[0].conv."""
    text, owner = start, root
    for name in target.split("."):
        kind = container(owner)
        if kind in (nn.Sequential, nn.ModuleList) and name.isdecimal():
            text += f"[{name}]"
        elif kind is nn.ModuleDict:
            text += f"[{name!r}]"
        else:
            text = f"{text}.{name}" if name.isidentifier() else f"getattr({text}, {name!r})"
        owner = getattr(owner, name)
    return text


class _Tracer(fx.Tracer):
    """Follows one module; its children are called, not followed."""

    proxy_buffer_attributes = True

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return True


def _body(module: nn.Module, how: Call) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            graph = _Tracer().trace(module, dict(how.constants) or None)
    except Exception as error:  # whatever a forward raises for what stands in for tensors
        why = str(error).partition("\n")[0].rstrip(".")
        raise InputError(f"torch.fx cannot follow its forward ({type(error).__name__}: {why})") from error
    checks = _checks_of_constants(graph, how)
    written = _Writer(module)
    return "".join(f"{line}\n" for node in graph.nodes if node not in checks for line in written.lines(node))


def _checks_of_constants(graph: fx.Graph, how: Call) -> set[fx.Node]:
    """Return what torch.fx adds for constant arguments."""
    found: set[fx.Node] = set()
    waiting = [node for node in graph.nodes if node.op == "placeholder" and node.target not in how.traced]
    while waiting:
        found.add(node := waiting.pop())
        waiting += [user for user in node.users if user not in found]
    return found


@dataclass
class _Writer:
    """Writes nodes as lines; `text` has the expression of each node so far."""

    root: nn.Module
    text: dict[fx.Node, str] = field(default_factory=dict)

    def lines(self, node: fx.Node) -> Iterator[str]:
        """Yield the lines of a node; none for what is written where it is used."""
        if node.op == "placeholder":
            self.text[node] = str(node.target)
        elif node.op == "get_attr":
            if "_tensor_constant" in str(node.target):
                raise InputError("its forward makes a tensor that does not depend on its input")
            self.text[node] = access(self.root, str(node.target))
        elif node.op == "output":
            yield f"return {self.value(node.args[0])}"
        elif node.op == "call_function" and node.target in IN_PLACE:
            first, second = map(self.value, node.args)
            self.text[node] = first
            yield f"{first} {IN_PLACE[node.target]} {second}"
        else:
            yield from self._statement(node)

    def _statement(self, node: fx.Node) -> Iterator[str]:
        expression = self._expression(node)
        if node.target is getattr and node.op == "call_function":
            self.text[node] = expression
        elif node.users:
            self.text[node] = f"{node.name}_" if node.name in ("torch", "F", "self") else node.name
            yield f"{self.text[node]} = {expression}"
        elif not (node.op == "call_function" and node.target in SILENT):
            yield expression

    def _expression(self, node: fx.Node) -> str:
        if node.op == "call_module":
            return f"{access(self.root, str(node.target))}({self._arguments(node.args, node.kwargs)})"
        if node.op == "call_method":
            return f"{self.value(node.args[0])}.{node.target}({self._arguments(node.args[1:], node.kwargs)})"
        target: Any = node.target
        if target in INFIX:
            return f"{self._operand(node.args[0])} {INFIX[target]} {self._operand(node.args[1])}"
        if target is operator.neg:
            return f"-{self._operand(node.args[0])}"
        if target is operator.getitem:
            return f"{self.value(node.args[0])}[{self._index(node.args[1])}]"
        if target is getattr:
            return f"{self.value(node.args[0])}.{node.args[1]}"
        return f"{_qualified(target)}({self._arguments(node.args, node.kwargs)})"

    def value(self, found: Any) -> str:
        """Return an argument as source. InputError: it is not plain."""
        if isinstance(found, fx.Node):
            return self.text[found]
        if isinstance(found, slice):
            return f"slice({', '.join(self.value(part) for part in (found.start, found.stop, found.step))})"
        if isinstance(found, list):
            return f"[{', '.join(map(self.value, found))}]"
        if isinstance(found, tuple):
            return f"({', '.join(map(self.value, found))}{',' * (len(found) == 1)})"
        if isinstance(found, dict):
            return f"{{{', '.join(f'{key!r}: {self.value(value)}' for key, value in found.items())}}}"
        return literal(found)

    def _operand(self, found: Any) -> str:
        text = self.value(found)
        return f"({text})" if text.startswith("-") else text

    def _index(self, found: Any) -> str:
        if isinstance(found, slice):
            start, stop, step = (
                "" if part is None else self.value(part) for part in (found.start, found.stop, found.step)
            )
            return f"{start}:{stop}:{step}" if step else f"{start}:{stop}"
        if isinstance(found, tuple) and found:
            return ", ".join(map(self._index, found)) + "," * (len(found) == 1)
        return self.value(found)

    def _arguments(self, args: Any, kwargs: Mapping[str, Any]) -> str:
        return ", ".join([*map(self.value, args), *(f"{name}={self.value(value)}" for name, value in kwargs.items())])


def _qualified(function: Callable[..., Any]) -> str:
    """Return the name of a function of torch. InputError: it is another's."""
    name = getattr(function, "__name__", "")
    for prefix, space in (("F", F), ("torch", torch), ("torch.special", torch.special), ("torch.linalg", torch.linalg)):
        if getattr(space, name, None) is function:
            return f"{prefix}.{name}"
    raise InputError(f"its forward calls {getattr(function, '__module__', '')}.{name}, which is not torch's")


def _merged(training: str, evaluation: str) -> str:
    """Return one body for both modes: what is True in training alone is self.training."""
    if training == evaluation:
        return training
    parts, others = (re.split(r"\b(True|False)\b", text) for text in (training, evaluation))
    if len(parts) == len(others) and all(
        own == other or (own, other) == ("True", "False") for own, other in zip(parts, others, strict=True)
    ):
        return "".join(own if own == other else "self.training" for own, other in zip(parts, others, strict=True))
    return f"if self.training:\n{indented(training)}{evaluation}"


def _holds_tensor(value: Any) -> bool:
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, list | tuple):
        return any(map(_holds_tensor, value))
    return isinstance(value, Tensor)
