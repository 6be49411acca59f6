"""Export to plain PyTorch: NAME.py with the network written out, and NAME.pt with its state dict.

Both run where neither Heartcut nor torchvision nor timm is installed; that, and equality bit for bit, are tried in a
process of its own before anything is written. B images, K classes.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from configs.errors import InputError
from configs.files import read_regular, write_atomically
from models import state_dicts
from models.artefact import Card
from models.counting import Cost, measure
from models.export import module_source, preparation

BATCH_SIZES = (1, 2, 7)
SECONDS = 600
MARK = "in plain PyTorch; written by Heartcut."
"""End of the first line of every file that is written here."""
BLOCKED = ("models", "train", "configs", "data_pipes", "launch", "timm", "torchvision")
CHECK = """
import importlib.util, sys
folder, threads, *blocked = sys.argv[1:]

class Guard:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ImportError(f"{name} may not be imported here")

sys.meta_path.insert(0, Guard)
import torch
torch.set_num_threads(int(threads))
spec = importlib.util.spec_from_file_location("written", f"{folder}/written.py")
written = importlib.util.module_from_spec(spec)
spec.loader.exec_module(written)
net = written.get_student_model()
net.load_state_dict(torch.load(f"{folder}/written.pt", weights_only=True))
images = torch.load(f"{folder}/images.pt", weights_only=True)
net.eval()
with torch.no_grad():
    logits = [net(image_BCHW) for image_BCHW in images]
torch.save(logits, f"{folder}/logits.pt")
net.train()
net(images[-1]).float().square().sum().backward()
lacking = [n for n, p in net.named_parameters() if p.requires_grad and p.grad is None]
torch.save({"parameters": {n: tuple(p.shape) for n, p in net.named_parameters()}, "lacking": lacking},
           f"{folder}/found.pt")
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """The contents of both files, which agree with the network bit for bit."""

    source: str
    weights: bytes
    cost: Cost


def export(net: nn.Module, card: Card, path: str | Path, *, artefact_sha256: str | None = None) -> Written:
    """Write the network out, try it, and only then write both files atomically. The network is not changed.

    InputError: a layer cannot be written as plain PyTorch (it is named), outputs differ, a file cannot be written, or
    would replace one that was not written here.
    """
    path = Path(path)
    _require_free(path)
    written = checked(net, card, name=path.stem, artefact_sha256=artefact_sha256)
    try:
        write_atomically(path.with_suffix(".pt"), written.weights)
        write_atomically(path, written.source)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error
    return written


def checked(net: nn.Module, card: Card, *, name: str, artefact_sha256: str | None = None) -> Written:
    """Write the network out and compare it in a process of its own. InputError: as for `export`."""
    twin = state_dicts.ready(net)
    images = list(_images(twin, card))
    try:
        body = module_source.write(twin, images[-1])
    except InputError as error:
        raise InputError(f"{card.model.name}: {error}") from error
    cost = measure(twin, card.input_CHW)
    buffer = io.BytesIO()
    torch.save(_state(twin), buffer)
    written = Written(
        source=_header(card, cost, name, artefact_sha256, ordered="OrderedDict(" in body) + body,
        weights=buffer.getvalue(),
        cost=cost,
    )
    _require_same(twin, card, written, images)
    return written


def _require_free(path: Path) -> None:
    """InputError if there is a source, or a state dict beside it, that was not written here: it would be lost."""
    weights = path.with_suffix(".pt")
    there = path if path.exists() else weights
    if there.exists() and not _is_ours(path):
        raise InputError(
            f"{there} is there already and was not written by models.export; move it, or choose another --output"
        )


def _is_ours(path: Path) -> bool:
    try:
        return path.exists() and read_regular(path).partition(b"\n")[0].rstrip().endswith(MARK.encode())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error


def _state(net: nn.Module) -> dict[str, Tensor]:
    """Return the state dict, with buffers that are not in it: the network computed them when it was built."""
    named = {name for name, _ in net.named_buffers(remove_duplicate=False)}
    state = net.state_dict()
    extra = {name: tensor for name, tensor in net.named_buffers() if name in named - state.keys()}
    return {name: tensor.detach().clone() for name, tensor in {**state, **extra}.items()}


def _header(card: Card, cost: Cost, name: str, artefact_sha256: str | None, *, ordered: bool) -> str:
    zeros = f", {cost.nonzero:,} of them not zero" if cost.nonzero < cost.parameters else ""
    about = [
        f"A classifier of {len(card.classes)} classes for images of {' x '.join(map(str, card.input_CHW))}, {MARK}",
        "",
        "    net = get_student_model()",
        f"    net.load_state_dict(torch.load({_quoted(name + '.pt')}, weights_only=True))",
        "    logits = net.eval()(images)",
        "",
        f"{cost.parameters:,} parameters{zeros}; {cost.macs:,} multiply-accumulates per image.",
        "",
        "To prepare an image:",
        *(f"- {step}" for step in preparation.steps(card)),
    ]
    imports = ["import torch", "import torch.nn.functional as F", "from torch import nn"]
    constants = {
        "MODEL": card.model.name,
        **({"ARTEFACT_SHA256": artefact_sha256} if artefact_sha256 else {}),
        "CLASSES": list(card.classes),
        "INPUT_CHW": tuple(card.input_CHW),
        "MEAN": tuple(card.mean),
        "STD": tuple(card.std),
        "EVAL_CROP": card.eval_crop,
    }
    lines = ['"""' + about[0], *about[1:], '"""', "", *(["from collections import OrderedDict", ""] if ordered else [])]
    lines += [*imports, "", *(f"{key} = {value!a}" for key, value in constants.items()), ""]
    return "".join(f"{line}\n" for line in lines)


def _quoted(text: str) -> str:
    """Return text as a literal that may stand within a docstring."""
    return ascii(text).replace("\\", "\\\\").replace('"""', "...")


def _images(net: nn.Module, card: Card) -> Iterator[Tensor]:
    """Yield batches of noise in the type of the weights."""
    dtype = next((p.dtype for p in net.parameters() if p.is_floating_point()), torch.float32)
    generator = torch.Generator().manual_seed(0)
    for size in BATCH_SIZES:
        yield torch.randn(size, *card.input_CHW, generator=generator).to(dtype)


def _require_same(net: nn.Module, card: Card, written: Written, images: list[Tensor]) -> None:
    """InputError unless the files run alone, give the same bits, have the same parameters, and can be trained."""
    with tempfile.TemporaryDirectory(prefix="heartcut-export-") as folder:
        home = Path(folder)
        (home / "written.py").write_text(written.source, encoding="utf-8")
        (home / "written.pt").write_bytes(written.weights)
        torch.save(images, home / "images.pt")
        command = [sys.executable, "-I", "-c", CHECK, folder, str(torch.get_num_threads()), *BLOCKED]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=SECONDS, check=False)
        if done.returncode:
            why = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise InputError(f"{card.model.name} does not run as plain PyTorch ({why}). No file is written")
        logits = torch.load(home / "logits.pt", weights_only=True)
        found = torch.load(home / "found.pt", weights_only=True)
    with torch.no_grad():
        wanted = [net(image_BCHW) for image_BCHW in images]
    if not all(map(torch.equal, wanted, logits)):
        largest = max(float((one - other).abs().max()) for one, other in zip(wanted, logits, strict=True))
        raise InputError(
            f"{card.model.name} gives other logits as plain PyTorch, by up to {largest:.1e}; its forward may change "
            "tensors in place that it reads again. No file is written"
        )
    if found["parameters"] != {name: tuple(parameter.shape) for name, parameter in net.named_parameters()}:
        raise InputError(f"{card.model.name} has other parameters as plain PyTorch. No file is written")
