"""Text is UTF-8, whatever the locale: every file that is opened as text says so."""

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("configs", "data_pipes", "models", "train", "launch")
OPENERS = {"read_text", "write_text", "open", "fdopen", "NamedTemporaryFile", "TemporaryFile", "TextIOWrapper"}
# Not files as text: pictures, descriptors, gzip in its default binary mode, and what has an open() of its own.
OTHERS = {"Image.open", "os.open", "gzip.open", "LogitCache.open", "folder.open", "Work.open"}
PROCESSES = {"run", "Popen", "check_output", "call", "check_call"}


def unspecified(source: str) -> list[str]:
    """Calls that leave the encoding of a text to the locale; ruff sees only those on what it can tell to be a path."""
    found = []
    for call in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)):
        name = ast.unparse(call.func)
        words = {word.arg: word.value for word in call.keywords}
        constants = [value.value for value in (*call.args, words.get("mode")) if isinstance(value, ast.Constant)]
        binary = any(isinstance(value, str) and set(value) <= set("rwaxb+") and "b" in value for value in constants)
        opens = name.rpartition(".")[2] in OPENERS and name not in OTHERS and not binary
        pipes = name.rpartition(".")[2] in PROCESSES and {"text", "universal_newlines"} & words.keys()
        if (opens or pipes) and "encoding" not in words:
            found.append(ast.unparse(call))
    return found


def test_every_text_of_the_packages_has_an_encoding():
    files = subprocess.run(["git", "ls-files", *(f"{name}/*.py" for name in PACKAGES)], cwd=ROOT, capture_output=True)
    sources = files.stdout.decode().split() or [
        str(f.relative_to(ROOT)) for n in PACKAGES for f in (ROOT / n).rglob("*.py")
    ]
    assert len(sources) > 150
    assert {file: calls for file in sources if (calls := unspecified((ROOT / file).read_text(encoding="utf-8")))} == {}


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("(folder / name).read_text()", 1),
        ("path.write_text(text)", 1),
        ("path.open('w')", 1),
        ("subprocess.run(words, text=True)", 1),
        ("path.open('rb')", 0),
        ("path.read_text(encoding='utf-8')", 0),
    ],
)
def test_the_check_sees(source, count):
    assert len(unspecified(source)) == count
