"""Execution providers: what is installed, what is asked for, and what is missing."""

from __future__ import annotations

import dataclasses
import re
import warnings

import onnxruntime
import pytest

from steerstream_bundle import providers, quickest
from steerstream_bundle.errors import BundleError, ProviderError
from steerstream_bundle.runtime import Runtime
from steerstream_service import config
from tests.service import bundles


def install(monkeypatch, *found):
    """Let ONNX Runtime say that it has these providers, whatever is installed."""
    names = [provider.ort_name for provider in found]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: names)


def with_device(monkeypatch, provider, missing):
    """Let a provider find its device, or miss it."""
    changed = dataclasses.replace(provider, missing=lambda: missing)
    preference = [changed if item is provider else item for item in providers.PREFERENCE]
    monkeypatch.setattr(providers, "PREFERENCE", preference)
    monkeypatch.setitem(providers.PROVIDERS, provider.name, changed)
    return changed


def test_the_settings_words_are_the_providers():
    assert set(config.PROVIDERS) == {providers.AUTO, *providers.PROVIDERS}


def test_the_settings_precisions_are_those_that_can_be_chosen():
    assert config.PRECISIONS == quickest.PRECISIONS


def test_the_installed_provider_is_chosen(monkeypatch):
    install(monkeypatch, providers.OPENVINO, providers.CPU)
    assert providers.choose() is providers.OPENVINO
    assert providers.candidates() == (providers.OPENVINO, providers.CPU)
    assert providers.candidates("cpu") == (providers.CPU,)
    assert providers.choose("cpu") is providers.CPU


def test_a_gpu_comes_first(monkeypatch):
    cuda = with_device(monkeypatch, providers.CUDA, None)
    install(monkeypatch, providers.TENSORRT, providers.CUDA, providers.CPU)
    assert providers.candidates() == (cuda,)


def test_without_its_gpu_cuda_is_passed_over(monkeypatch):
    with_device(monkeypatch, providers.CUDA, "no NVIDIA GPU answers")
    install(monkeypatch, providers.CUDA, providers.CPU)
    assert providers.choose() is providers.CPU
    with pytest.raises(ProviderError, match="'cuda' cannot be used: no NVIDIA GPU answers"):
        providers.choose("cuda")


@pytest.mark.parametrize("name", ["cuda", "openvino", "tensorrt"])
def test_a_provider_that_is_not_installed_is_named_with_its_package(monkeypatch, name):
    install(monkeypatch, providers.CPU)
    package = re.escape(providers.PROVIDERS[name].package)
    with pytest.raises(ProviderError, match=f"not installed.*pip install '{package}'"):
        providers.choose(name)


def test_an_unknown_provider_is_named():
    with pytest.raises(ProviderError, match="no provider 'npu'; choose auto or one of"):
        providers.choose("npu")


def test_a_provider_that_does_not_start_is_no_cpu_in_disguise(tmp_path):
    model = bundles.recurrent(tmp_path / "a.onnx").read_bytes()
    warnings.simplefilter("ignore")  # ONNX Runtime's own, where CUDA is not installed at all
    with pytest.raises(BundleError, match=r"provider 'cuda' did not start|not an ONNX model"):
        Runtime(model, provider=providers.CUDA)
