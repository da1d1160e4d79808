"""Tuning: the defaults, and every choice can be turned off."""

import pytest
import torch

from train.tuning import CHOICES, NO_TUNING, choose_tuning

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("features", "chosen"),
    [
        ({"avx512_bf16": True, "avx2": True}, torch.bfloat16),
        ({"avx512_bf16": False, "avx2": True}, torch.float32),
        ({}, torch.float32),
    ],
)
def test_auto_precision_depends_on_the_processor(features, chosen, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features, raising=False)
    assert choose_tuning(CPU, 1).precision == chosen
    assert choose_tuning(CPU, 1, precision="fp32").precision == torch.float32
    assert choose_tuning(CPU, 1, precision="bf16").precision == torch.bfloat16


def test_every_choice_can_be_turned_off():
    assert choose_tuning(CPU, 1, precision="bf16", compile=True, without=CHOICES) == NO_TUNING
    chosen = choose_tuning(CPU, 1, precision="fp32")
    assert chosen.channels_last
    assert chosen.fused
    assert chosen.memory
    assert not chosen.compile
    assert not chosen.graph
    assert choose_tuning(CPU, 1, compile=True).compile
    assert not choose_tuning(CPU, 1, without=["fused"]).fused


def test_gpu_records_its_steps_and_compiles_only_long_runs():
    gpu = torch.device("cuda")
    short = choose_tuning(gpu, 10_000, precision="bf16")
    assert short.graph
    assert not short.compile
    assert choose_tuning(gpu, 10_000_000, precision="bf16").compile
    assert not choose_tuning(gpu, 10_000_000, precision="bf16", without=["compile"]).compile
