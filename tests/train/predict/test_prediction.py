"""Predictions: the CSV that a course wants, in the order of the files, or one image's best classes."""

import csv
import os
import struct
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from accelerate import Accelerator

import reference
from configs.errors import InputError, UsageError
from configs.figures import percent
from data_pipes.spec import DataSpec
from models import artefact
from models.artefact import Card
from models.counting import measure
from models.networks.mirrored import Mirrored
from models.spec import ModelSpec
from models.zoo import build
from train.loaders import FEW_IMAGES, evaluation_loader
from train.predict import __main__ as command
from train.predict import prediction
from train.predict.config import PredictConfig

CLASSES = ("cat", "cow", "dog", "hen, brown", "pig", "rat")
MODEL = ModelSpec(name="resnet_small", widths=(2, 4, 8), depth=8)
DATA = DataSpec(source="digits", image_size=(24, 24), mean=(0.1,), std=(0.9,), threads=1)


@pytest.fixture
def run(tmp_path):
    torch.manual_seed(0)
    net = build(MODEL, num_classes=len(CLASSES), input_CHW=(1, 16, 16))
    with torch.no_grad():
        image_NHWC = np.stack([reference.picture(16, 16, 1, seed=i) for i in range(16)])
        logits_NK = net.eval()((torch.from_numpy(image_NHWC).permute(0, 3, 1, 2) / 255 - 0.4) / 0.25)
        net.fc.bias.sub_(logits_NK.mean(0))  # so that it does not say the same of all
    cost = measure(net, (1, 16, 16))
    card = Card(model=MODEL, classes=CLASSES, input_CHW=(1, 16, 16), mean=(0.4,), std=(0.25,), eval_crop=1.0, cost=cost)
    artefact.save(tmp_path / "run" / "model.safetensors", net, card)
    return tmp_path / "run"


def write(folder: Path, *names: str) -> Path:
    for i, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        encoded = cv2.imencode(".png", reference.picture(16, 16, 1, seed=i))[1]
        (folder / name).write_bytes(encoded.tobytes())
    return folder


def logits(run: Path, path: Path) -> torch.Tensor:
    """Of one file, by hand."""
    net, card = artefact.load(run / "model.safetensors")
    pixels = torch.from_numpy(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))[None, None] / 255
    with torch.no_grad():
        return net((pixels - card.mean[0]) / card.std[0])[0]


def table(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("batch_size", [1, 2, 256])
def test_each_file_gets_its_own_answer_in_natural_order(run, tmp_path, batch_size):
    names = [f"{i}.png" for i in (10, 2, 1, 30, 4)]
    folder = write(tmp_path / "photos", *names)
    prediction.predict(PredictConfig(run_dir=str(run), data=DATA, images=str(folder), batch_size=batch_size))
    head, *rows = table(run / "predictions.csv")
    assert head == ["Id", "Category"] and [name for name, _ in rows] == ["1", "2", "4", "10", "30"]
    assert [int(answer) for _, answer in rows] == [
        int(logits(run, folder / f"{name}.png").argmax()) for name, _ in rows
    ]
    assert len({answer for _, answer in rows}) > 1, "a network that says the same of everything proves nothing"


def test_names_of_classes_and_another_file(run, tmp_path):
    folder, output = write(tmp_path / "photos", *(f"{i}.png" for i in range(12))), tmp_path / "deep" / "out.csv"
    config = PredictConfig(run_dir=str(run), data=DATA, images=str(folder), output=str(output))
    prediction.predict(config)
    numbers = [int(answer) for _, answer in table(output)[1:]]
    prediction.predict(replace(config, category="name"))
    assert [answer for _, answer in table(output)[1:]] == [CLASSES[number] for number in numbers]
    assert not (run / "predictions.csv").exists()


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["0001.png", "2.b.png"], ["0001", "2.b"]),
        (["a/1.png", "b/2.png"], ["1", "2"]),
        (["a/1.png", "b/1.png"], ["a/1.png", "b/1.png"]),
        (["1.bmp", "1.png"], ["1.bmp", "1.png"]),
        (["1.dib", "2.2.840", "a.png?w=300"], ["1", "2.2.840", "a.png?w=300"]),
    ],
)
def test_identifiers_are_stems_unless_two_would_be_the_same(run, tmp_path, names, expected):
    folder = write(tmp_path / "photos", *names)
    prediction.predict(PredictConfig(run_dir=str(run), data=DATA, images=str(folder)))
    assert [name for name, _ in table(run / "predictions.csv")[1:]] == expected


def test_a_name_that_is_not_utf8_is_written_as_an_escape(run, tmp_path):
    folder = write(tmp_path / "photos", os.fsdecode(b"caf\xe9.png"), "th\u00e9.png")
    prediction.predict(PredictConfig(run_dir=str(run), data=DATA, images=str(folder)))
    text = (run / "predictions.csv").read_text(encoding="utf-8")
    assert "caf\\udce9," in text and "th\u00e9," in text


def test_the_evaluation_split_of_the_course_layout(run, tmp_path):
    folder = write(
        tmp_path / "food", "training/0_1.png", "training/1_1.png", "evaluation/0000.png", "evaluation/0001.png"
    )
    data = replace(DATA, source="food11", root=str(folder))
    prediction.predict(PredictConfig(run_dir=str(run), data=data))
    assert [name for name, _ in table(run / "predictions.csv")[1:]] == ["0000", "0001"]


def test_images_in_test_without_class_folders(run, tmp_path):
    folder = write(tmp_path / "kaggle", "train/cat/1.png", "train/dog/1.png", "test/10.png", "test/9.png")
    prediction.predict(PredictConfig(run_dir=str(run), data=replace(DATA, source="folder", root=str(folder))))
    assert [name for name, _ in table(run / "predictions.csv")[1:]] == ["9", "10"]


def test_links_are_followed_when_asked_for(run, tmp_path):
    write(tmp_path, "cache/1.png", "photos/2.png")
    (tmp_path / "photos/1.png").symlink_to("../cache/1.png")
    config = PredictConfig(run_dir=str(run), data=DATA, images=str(tmp_path / "photos"))
    with pytest.raises(InputError, match=r"1.png links to .*data.follow_links: true"):
        prediction.predict(config)
    prediction.predict(replace(config, data=replace(DATA, follow_links=True)))
    assert [name for name, _ in table(run / "predictions.csv")[1:]] == ["1", "2"]


def test_without_an_unlabelled_split_the_way_out_is_named(run):
    with pytest.raises(InputError, match=r"digits has no unlabelled split; give --images .* or --split .* test"):
        prediction.predict(PredictConfig(run_dir=str(run), data=DATA))
    with pytest.raises(InputError, match=r"nothing to predict: give --images FOLDER_OR_FILE, or --data.root"):
        prediction.predict(PredictConfig(run_dir=str(run), data=replace(DATA, source="folder")))


def test_one_image_shows_its_five_best_classes_and_writes_nothing(run, tmp_path, capsys):
    folder = write(tmp_path / "photos", "one.png")
    prediction.predict(PredictConfig(run_dir=str(run), data=DATA, images=str(folder / "one.png")))
    probability_K = logits(run, folder / "one.png").softmax(0)
    best = probability_K.argsort(descending=True)[:5].tolist()
    rows = [line.replace("│", " ").split() for line in capsys.readouterr().out.splitlines() if "%" in line]
    assert [" ".join(words) for words in rows] == [f"{CLASSES[k]} {percent(probability_K[k].item(), 1)}" for k in best]
    assert sorted(path.name for path in run.iterdir()) == ["model.safetensors"]


def test_of_one_image_a_file_is_written_when_asked_for(run, tmp_path, capsys):
    folder = write(tmp_path / "photos", "one.png")
    config = PredictConfig(run_dir=str(run), data=DATA, images=str(folder / "one.png"), output=str(tmp_path / "o.csv"))
    prediction.predict(config)
    best = int(logits(run, folder / "one.png").argmax())
    assert (tmp_path / "o.csv").read_text() == f"Id,Category\none,{best}\n"
    assert "%" in capsys.readouterr().out


# ---- without a run folder


def test_without_a_run_the_answers_are_in_the_working_directory(run, tmp_path, monkeypatch):
    folder = write(tmp_path / "photos", "a/1.png", "2.png")
    monkeypatch.chdir(tmp_path)
    prediction.predict(PredictConfig(weights=str(run / "model.safetensors"), data=DATA, images=str(folder)))
    assert [name for name, _ in table(tmp_path / "predictions.csv")[1:]] == ["2", "1"]


def always(run: Path, answer: int, path: Path) -> Path:
    """A network that says the same of every image."""
    net, card = artefact.load(run / "model.safetensors")
    with torch.no_grad():
        net.fc.weight.zero_()
        net.fc.bias.copy_(torch.nn.functional.one_hot(torch.tensor(answer), len(CLASSES)))
    artefact.save(path, net, card)
    return path


def test_a_labelled_split_in_the_columns_of_a_course(run, tmp_path):
    weights = always(run, 3, tmp_path / "three.safetensors")
    config = PredictConfig(weights=str(weights), data=DATA, split="test", columns="id,pred", ids="index")
    prediction.predict(replace(config, output=str(tmp_path / "pred.csv")))
    lines = (tmp_path / "pred.csv").read_bytes().split(b"\n")
    assert lines[0] == b"id,pred" and lines[1:-1] == [b"%d,3" % i for i in range(360)][: len(lines) - 2]
    assert len(lines) == 359 + 2 and lines[-1] == b""


def course_food(root: Path) -> Path:
    """Food-11 as it is mounted, with a dozen images to answer for."""
    write(root, *(f"training/{label}_0.png" for label in range(11)), "validation/3_1.png")
    return write(root, *(f"evaluation/{i:04}.png" for i in range(12)))


def course_fashion(root: Path) -> Path:
    """Twelve test images as torchvision lays out Fashion-MNIST."""
    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for prefix in ("train", "t10k"):
        pixel_NHW, label_N = np.zeros((12, 28, 28), np.uint8), np.arange(12, dtype=np.uint8) % 10
        for name, array in (("images-idx3", pixel_NHW), ("labels-idx1", label_N)):
            head = struct.pack(f">I{array.ndim}I", 0x0800 + array.ndim, *array.shape)
            (raw / f"{prefix}-{name}-ubyte").write_bytes(head + array.tobytes())
    return root


@pytest.mark.parametrize(
    ("recorded", "lay_out", "words"),
    [
        ("food11.csv", course_food, []),
        ("fashion_mnist.csv", course_fashion, ["--split", "test", "--columns", "id,pred"]),
    ],
)
def test_both_courses_files_from_the_command_line_byte_for_byte(run, tmp_path, monkeypatch, recorded, lay_out, words):
    """With the recorded answers in place of the network's; the layout of the folder says the rest."""
    sample = (Path(__file__).parent / "samples" / recorded).read_bytes()
    answer_N = torch.tensor([int(line.split(b",")[1]) for line in sample.splitlines()[1:]])
    one_hot_NK = torch.nn.functional.one_hot(answer_N, 11).float()
    monkeypatch.setattr(prediction, "probabilities", lambda accelerator, net, loader: one_hot_NK)
    root = lay_out(tmp_path / "data")
    given = ["--weights", str(run / "model.safetensors"), "--data.root", str(root), "--output", str(tmp_path / "o.csv")]
    monkeypatch.setattr(sys, "argv", ["train.predict", *given, *words])
    command.main()
    assert (tmp_path / "o.csv").read_bytes() == sample


def test_the_mirror_image_counts_half(run, tmp_path):
    accelerator = Accelerator(cpu=True)
    pixels = [reference.picture(16, 16, 1, seed=i) for i in range(5)]
    net, card = artefact.load(run / "model.safetensors")
    spec = replace(DATA, image_size=(16, 16), mean=card.mean, std=card.std)

    def of(images, net):
        loader = evaluation_loader(accelerator, reference.in_memory(images), spec, FEW_IMAGES, batch_size=3)
        found = prediction.probabilities(accelerator, net, loader)
        loader.close()
        return found

    plain, mirrored = of(pixels, net), of([image[:, ::-1].copy() for image in pixels], net)
    assert (plain - mirrored).abs().max() > 1e-3, "an image like its mirror image proves nothing"
    torch.testing.assert_close(of(pixels, Mirrored(net)), (plain + mirrored) / 2, atol=1e-6, rtol=0)


def test_broken_files_stop_it_or_are_left_out(run, tmp_path):
    folder = write(tmp_path / "photos", "1.png", "2.png")
    (folder / "torn.png").write_bytes((folder / "1.png").read_bytes()[:40])
    config = PredictConfig(run_dir=str(run), data=DATA, images=str(folder))
    with pytest.raises(InputError, match=r"1 of 3 files cannot be used: torn.png: .*data.bad_files: skip"):
        prediction.predict(config)
    assert not (run / "predictions.csv").exists()
    prediction.predict(replace(config, data=replace(DATA, bad_files="skip")))
    assert [name for name, _ in table(run / "predictions.csv")[1:]] == ["1", "2"]


def test_an_output_that_cannot_be_written_is_refused_before_any_image_is_read(run, tmp_path):
    (tmp_path / "file").touch()
    for output in (tmp_path, tmp_path / "file" / "o.csv"):
        with pytest.raises(UsageError, match=r"output .*(is a folder|cannot be written)"):
            prediction.predict(PredictConfig(run_dir=str(run), data=DATA, images="nowhere", output=str(output)))


def test_answers_that_are_no_numbers_are_refused(run):
    accelerator, (net, card) = Accelerator(cpu=True), artefact.load(run / "model.safetensors")
    spec = replace(DATA, image_size=(16, 16), mean=card.mean, std=card.std)
    samples = reference.in_memory([reference.picture(16, 16, 1)])
    loader = evaluation_loader(accelerator, samples, spec, FEW_IMAGES, batch_size=1)
    with torch.no_grad():
        net.fc.bias.fill_(float("inf"))
    with pytest.raises(InputError, match=r"outputs are NaN or infinite"):
        prediction.probabilities(accelerator, net, loader)
    loader.close()


def test_probabilities_are_one_row_per_sample_without_padding(run):
    accelerator = Accelerator(cpu=True)
    samples = reference.in_memory([reference.picture(16, 16, 1, seed=i) for i in range(7)])
    net, card = artefact.load(run / "model.safetensors")
    spec = replace(DATA, image_size=(16, 16), mean=card.mean, std=card.std)
    loader = evaluation_loader(accelerator, samples, spec, FEW_IMAGES, batch_size=3)
    probability_NK = prediction.probabilities(accelerator, net, loader)
    loader.close()
    assert probability_NK.shape == (7, 6)
    assert np.allclose(probability_NK.sum(1), 1, atol=1e-6)
    pixel_NCHW = torch.stack([torch.from_numpy(samples.read(i, channels=1)).permute(2, 0, 1) / 255 for i in range(7)])
    with torch.no_grad():
        expected_NK = net((pixel_NCHW - card.mean[0]) / card.std[0]).softmax(1)
    torch.testing.assert_close(probability_NK, expected_NK, atol=1e-5, rtol=0)
