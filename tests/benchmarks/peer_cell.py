"""Measure one model of the authors' code (HKUDS/RLMRec) in a process of its own; prints one line of JSON.

Usage: python -m tests.benchmarks.peer_cell FOLDER BACKBONE VARIANT --peer CHECKOUT [--device cuda] [--epochs N]

The checkout is neither changed nor copied. What it expects of a library and of its data folder is supplied while it
runs: the two functions of torch_sparse that DCCF calls gather and scatter as the original does, and the data are
written from our Parquet files to a temporary folder in the format it reads. On a CPU, .cuda() does nothing.
"""

import contextlib
import json
import os
import pickle
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import torch

from rlmrec_core.split import Split
from tests.benchmarks.training_cell import load_split, measure, parser, random_semantic

SUFFIX = {"base": "", "con": "_plus", "gen": "_gene"}


def write_data(split: Split, folder: Path) -> None:
    """The matrices and semantic vectors that the authors' code loads."""
    folder.mkdir(parents=True)
    for name, part in (("trn", split.train), ("val", split.validation), ("tst", split.test)):
        ones = np.ones(len(part.user), dtype=np.float32)
        matrix = scipy.sparse.coo_matrix((ones, (part.user, part.item)), shape=(split.n_users, split.n_items))
        (folder / f"{name}_mat.pkl").write_bytes(pickle.dumps(matrix))
    semantic = random_semantic(split.n_users, split.n_items)
    for name, vectors in (("usr", semantic.users), ("itm", semantic.items)):
        (folder / f"{name}_emb_np.pkl").write_bytes(pickle.dumps(vectors))


class SparseTensor:
    """As much of torch_sparse's class as the authors' DCCF uses: row sums."""

    def __init__(self, row: torch.Tensor, col: torch.Tensor, value: torch.Tensor, sparse_sizes: Any) -> None:
        self.row, self.value, self.n_rows = row, value, sparse_sizes[0]

    def cuda(self) -> "SparseTensor":
        self.row, self.value = self.row.cuda(), self.value.cuda()
        return self

    def sum(self, dim: int) -> torch.Tensor:
        return self.value.new_zeros(self.n_rows).index_add(0, self.row, self.value)


def spmm(index: torch.Tensor, value: torch.Tensor, m: int, n: int, matrix: torch.Tensor) -> torch.Tensor:
    """Gather, scale and scatter, the way torch_sparse computes it."""
    gathered = matrix.index_select(0, index[1]) * value.unsqueeze(1)
    return matrix.new_zeros(m, matrix.shape[1]).index_add(0, index[0], gathered)


def spspmm(
    left: torch.Tensor, left_value: torch.Tensor, right: torch.Tensor, right_value: torch.Tensor, *sizes: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """A product of two sparse matrices, called while the model is built."""
    m, k, n = sizes
    first = torch.sparse_coo_tensor(left, left_value, (m, k))
    product = torch.sparse.mm(first, torch.sparse_coo_tensor(right, right_value, (k, n))).coalesce()
    return product.indices(), product.values()


def supply(peer: Path, work: Path, model: str, device: str) -> None:
    """Make this process one that the authors' code can run in."""
    if device == "cpu":
        for kind in (torch.Tensor, torch.nn.Module):
            kind.cuda = lambda self, *args, **kwargs: self
    fake = types.ModuleType("torch_sparse")
    fake.SparseTensor, fake.spmm, fake.spspmm = SparseTensor, spmm, spspmm
    sys.modules["torch_sparse"] = fake
    (work / "encoder").symlink_to(peer / "encoder")
    os.chdir(work)
    sys.path.insert(0, str(peer / "encoder"))
    sys.argv = ["train_encoder.py", "--model", model, "--dataset", "amazon", "--device", device, "--seed", "2023"]
    sys.dont_write_bytecode = True


def build() -> tuple[Any, Any]:
    """The authors' trainer and model."""
    from data_utils.build_data_handler import build_data_handler
    from models.bulid_model import build_model
    from trainer.build_trainer import build_trainer
    from trainer.trainer import init_seed

    init_seed()
    handler = build_data_handler()
    handler.load_data()
    model = build_model(handler)
    silent = types.SimpleNamespace(log=lambda *_, **__: None, log_loss=lambda *_, **__: None)
    silent.log_eval = silent.log
    trainer = build_trainer(handler, silent)
    trainer.create_optimizer(model)
    return trainer, model


def main() -> None:
    """Train and validate for a few epochs with the authors' settings for Amazon-book."""
    arguments = parser()
    arguments.add_argument("--peer", type=Path, required=True)
    arguments.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    options = arguments.parse_args()
    split = load_split(options.folder.resolve())
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        write_data(split, Path(folder) / "data" / "amazon")
        del split
        supply(options.peer.resolve(), Path(folder), options.backbone + SUFFIX[options.variant], options.device)
        torch.set_num_threads(options.threads)
        trainer, model = build()
        found = measure(
            lambda epoch: trainer.train_epoch(model, epoch),
            lambda epoch: trainer.evaluate(model, epoch),
            options.epochs,
        )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
