"""Terms of the loss, their weights, and what each needs: to add one, add a row here and a function in losses.py.

Free of torch, so that --help and config errors answer at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from configs.errors import require

TeacherSize = Literal["student", "own"]
Need = Literal["teacher_logits", "features", "adapters"]
"""teacher_logits: the teacher's logits. features: outputs of the layer pairs, which need a live teacher. adapters: the
student's features with the teacher's channels, in place of its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DistillSpec:
    """loss = (1 - alpha) cross-entropy + alpha soft + hint + attention, each a named term in the metrics."""

    alpha: float = 0.5
    """Weight of the teacher's soft targets; the labels have 1 - alpha. 0: no teacher logits."""
    soft: Literal["kd", "dkd"] = "kd"
    """kd: KL divergence at the temperature, times its square. dkd: target and other classes apart."""
    temperature: float = 4.0
    """Divides both networks' logits."""
    dkd_target: float = 1.0
    """Weight of dkd's target-class part."""
    dkd_others: float = 8.0
    """Weight of dkd's part over the other classes."""
    hint: float = 0.0
    """Weight of the mean squared error between adapted student features and teacher features."""
    attention: float = 0.0
    """Weight of attention transfer between the layer pairs."""
    layers: tuple[tuple[str, str], ...] = ()
    """Pairs [student module, teacher module] for hint and attention, for example [[stages.2, layer3]]."""
    teacher_check: int = 512
    """Validation images on which the teacher is measured before training starts: it must come near the accuracy in its
    file, and a warning says if it is no better than chance. 0: nothing is measured."""
    teacher_size: TeacherSize = "own"
    """Size of the images that the teacher sees. own: the student's views, resized to the size in the teacher's file
    where it is another (bilinear, with antialiasing). student: data.image_size, as the student."""
    teacher_logits: Literal["online", "cached", "write_through"] = "online"
    """online: the teacher answers every batch. cached: its logits are read from distill.cache, where train.cache put
    them. write_through: likewise, and a view that is not there yet is put there before its first epoch."""
    cache: str | None = None
    """Folder of the teacher's logits."""
    store: Literal["auto", "float32", "float16", "top_k"] = "auto"
    """How logits are kept. float32: exactly. float16: relative to the largest. top_k: the 64 largest and what the
    others come to. auto: float16 up to 256 classes, top_k above."""
    verify: int = 64
    """Cached logits that are compared with the teacher's own before training starts. 0: none."""

    def __post_init__(self) -> None:
        require(0 <= self.alpha <= 1, "distill.alpha", self.alpha, "in [0, 1]")
        require(self.temperature > 0, "distill.temperature", self.temperature, "positive")
        for key in (*dict.fromkeys(term.key for term in TERMS), "dkd_target", "dkd_others", "teacher_check", "verify"):
            require(getattr(self, key) >= 0, f"distill.{key}", getattr(self, key), "at least 0")
        online, set_by = self.teacher_logits == "online", " or ".join(f"distill.{key}" for key in FEATURE_KEYS)
        valid = f"at least one pair [student module, teacher module] when {set_by} is set"
        require(bool(self.layers) or not self.needs_features, "distill.layers", self.layers, valid)
        why = f"online where {set_by} is set: features are too large to cache"
        require(online or not self.needs_features, "distill.teacher_logits", self.teacher_logits, why)
        require(online or bool(self.cache), "distill.cache", self.cache, "a folder, unless teacher_logits is online")

    @property
    def terms(self) -> tuple[tuple[Term, float], ...]:
        """The terms that are computed, with their weights, in the order in which they are added."""
        weighted = ((term, term.weight(self)) for term in TERMS)
        return tuple((term, weight) for term, weight in weighted if weight > 0)

    @property
    def needs_logits(self) -> bool:
        """Whether a term needs the teacher's logits."""
        return self._needs("teacher_logits")

    @property
    def needs_features(self) -> bool:
        """Whether a term compares features of the layer pairs."""
        return self._needs("features")

    @property
    def needs_teacher(self) -> bool:
        """Whether a term needs the teacher."""
        return self.needs_logits or self.needs_features

    @property
    def student_layers(self) -> tuple[str, ...]:
        """Student modules whose outputs the loss needs."""
        return tuple(pair[0] for pair in self.layers) if self.needs_features else ()

    @property
    def teacher_layers(self) -> tuple[str, ...]:
        """Teacher modules whose outputs the loss needs."""
        return tuple(pair[1] for pair in self.layers) if self.needs_features else ()

    @property
    def needs_own_features(self) -> bool:
        """Whether a term compares the student's features as they are, without adapters."""
        return any("features" in term.needs and "adapters" not in term.needs for term, _ in self.terms)

    @property
    def adapted_layers(self) -> tuple[str, ...]:
        """Student modules whose outputs need an adapter."""
        return self.student_layers if self._needs("adapters") else ()

    def _needs(self, what: Need) -> bool:
        return any(what in term.needs for term, _ in self.terms)


@dataclass(frozen=True, kw_only=True, slots=True)
class Term:
    """One term of the loss."""

    name: str
    """Of its function in `losses.TERMS`, and of its curve: train/NAME."""
    key: str
    """Key of its weight in the section distill."""
    weight: Callable[[DistillSpec], float]
    """The factor of its value; 0: it is not computed."""
    needs: frozenset[Need] = frozenset()
    """What it needs besides the student's logits and the labels."""


TERMS = (
    Term(name="ce", key="alpha", weight=lambda spec: 1 - spec.alpha),
    Term(
        name="kd",
        key="alpha",
        weight=lambda spec: spec.alpha if spec.soft == "kd" else 0.0,
        needs=frozenset({"teacher_logits"}),
    ),
    Term(
        name="dkd",
        key="alpha",
        weight=lambda spec: spec.alpha if spec.soft == "dkd" else 0.0,
        needs=frozenset({"teacher_logits"}),
    ),
    Term(name="hint", key="hint", weight=lambda spec: spec.hint, needs=frozenset({"features", "adapters"})),
    Term(name="attention", key="attention", weight=lambda spec: spec.attention, needs=frozenset({"features"})),
)
FEATURE_KEYS = tuple(term.key for term in TERMS if "features" in term.needs)
SUPERVISED = DistillSpec(alpha=0.0)
"""Labels alone."""
