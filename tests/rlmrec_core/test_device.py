"""What varies by device, and what happens where one is missing or full."""

from dataclasses import replace

import pytest
import torch

from rlmrec_core import device
from rlmrec_core.config import EvaluateConfig, RecommendConfig, TrainConfig
from rlmrec_core.config.device import settled
from rlmrec_core.config.section import key_fields
from rlmrec_core.device import (
    CPU,
    GPU,
    DeviceFull,
    DeviceMissing,
    forced,
    halve,
    opened,
    policy,
    telling_when_full,
    within_memory,
)

HERE = torch.device("cpu")


@pytest.fixture
def with_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


def test_a_policy_is_forced_for_a_while():
    assert policy(HERE) == CPU
    with forced(GPU):
        assert policy(HERE) == GPU
    assert policy(HERE) == CPU


def test_chunks_follow_the_memory_of_the_card(monkeypatch):
    def card(gibibytes):
        monkeypatch.setattr(
            torch.cuda, "get_device_properties", lambda _: type("Card", (), {"total_memory": gibibytes << 30})
        )
        return device._for_device(torch.device("cuda", 0))

    assert card(16).logits * 4 == 256 << 20
    assert card(141) == GPU


def test_memory_that_runs_out_halves_the_chunks_until_it_does_not(caplog):
    undone = []

    def compute():
        if policy(HERE).logits > GPU.logits // 4:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB")
        return "done"

    with forced(GPU):
        assert within_memory(HERE, compute, lambda: undone.append(policy(HERE).logits)) == "done"
        assert policy(HERE).scores == GPU.scores // 4 and policy(HERE).tile_nodes == GPU.tile_nodes
    assert undone == [GPU.logits // 2, GPU.logits // 4]
    assert "going on in chunks half as large" in caplog.text


def test_memory_that_is_never_enough_is_told_with_the_way_out():
    def compute():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB\nmore")

    with (
        forced(replace(GPU, logits=CPU.logits * 2)),
        pytest.raises(DeviceFull, match=r"even in small chunks: lower train.batch_size.*9 GiB"),
    ):
        within_memory(HERE, compute)


def test_memory_that_runs_out_elsewhere_is_told_too():
    with pytest.raises(DeviceFull, match=r"out of memory on cuda:1: lower a\.setting, end what"):  # noqa: SIM117
        with telling_when_full("cuda:1", "a.setting"):
            raise torch.OutOfMemoryError("CUDA out of memory.")


def test_a_policy_of_the_smallest_chunks_cannot_be_halved():
    with forced(CPU):
        assert not halve(HERE) and policy(HERE) == CPU


def test_a_missing_gpu_is_told_with_the_way_out(monkeypatch, with_a_gpu):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    assert opened("cuda") == opened("cuda:0") == torch.device("cuda", 0)
    with pytest.raises(DeviceMissing, match="finds 1 GPU here"):
        opened("cuda:1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceMissing, match=r"finds no GPU here.* auto or cpu"):
        opened("cuda")
    assert opened("cpu") == HERE


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, which auto takes")
def test_auto_takes_the_cpu_where_there_is_nothing_else():
    assert settled("auto") == "cpu" and settled("cuda:1") == "cuda:1"
    assert TrainConfig().run("lightgcn", "base", 1).device == "cpu"
    assert key_fields(EvaluateConfig()) == key_fields(RecommendConfig()) == {}


def test_keys_name_the_kind_of_device_alone(with_a_gpu):
    runs = [TrainConfig(device=name).run("lightgcn", "base", 1) for name in ("auto", "cuda", "cuda:1")]
    assert [run.device for run in runs] == ["cuda", "cuda", "cuda:1"]
    assert len({run.model_id for run in runs}) == 1 and {run.flat()["device"] for run in runs} == {"cuda"}
    assert [key_fields(run)["device"] for run in runs] == ["cuda"] * 3
    assert "device" not in key_fields(TrainConfig(device="cpu").run("lightgcn", "base", 1))
    assert key_fields(EvaluateConfig()) == key_fields(RecommendConfig(device="cuda:3")) == {"device": "cuda"}
    assert key_fields(EvaluateConfig(device="cpu")) == {}


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "CPU"])
def test_other_devices_are_refused(name):
    with pytest.raises(ValueError, match="device"):
        TrainConfig(device=name)
