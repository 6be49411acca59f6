"""Metadata of a model card: the YAML that the Hugging Face hub reads."""

from __future__ import annotations

from huggingface_hub import EvalResult, ModelCardData

from models.artefact import Card
from models.card.beside import Beside

LIBRARY, TASK = "heartcut", "image-classification"
DATA = {
    "digits": "scikit-learn's handwritten digits",
    "idx": "IDX files (MNIST, Fashion-MNIST or alike)",
    "cifar10": "CIFAR-10",
    "cifar10.1": "CIFAR-10.1",
    "food11": "Food-11",
    "folder": "a folder of images",
}
"""Data sources as people name them."""


def build(card: Card, name: str, beside: Beside, license_id: str | None) -> ModelCardData:
    """Return the metadata. name: the model's, for its results."""
    return ModelCardData(
        library_name=LIBRARY,
        pipeline_tag=TASK,
        license=license_id,
        tags=tags(card, beside),
        metrics=["accuracy"] if card.scores else None,
        model_name=name if card.scores else None,
        eval_results=_results(card) or None,
    )


def data_name(card: Card) -> str:
    """Return what the network was trained on, as far as its header tells."""
    source = card.lineage.get("source")
    return "a data set that is not named in the file" if source is None else DATA.get(source, source)


def tags(card: Card, beside: Beside) -> list[str]:
    """Return tags to search by."""
    exports = {"onnx": beside.onnx, "pytorch": beside.sources}
    return [
        TASK,
        LIBRARY,
        *(["knowledge-distillation"] if "teacher_sha256" in card.lineage else []),
        *(["pruned"] if card.pruned or masked(card) else []),
        *(name for name, files in exports.items() if files),
    ]


def masked(card: Card) -> bool:
    """Whether so many weights are zero that it is no accident."""
    return card.cost.nonzero < 0.9 * card.cost.parameters


def _results(card: Card) -> list[EvalResult]:
    return [
        EvalResult(
            task_type=TASK,
            task_name="Image classification",
            dataset_type=card.lineage.get("source", "imagefolder"),
            dataset_name=data_name(card),
            dataset_split=split,
            metric_type="accuracy",
            metric_name="Accuracy",
            metric_value=score.accuracy,
            metric_args={"correct": score.correct, "total": score.total, "interval_95": list(score.interval)},
            verified=False,
        )
        for split, score in card.scores.items()
    ]
