"""What a command imports: no more than it uses, since each second of it is a user's wait."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import write_photos

HEAVY = ('basicsr', 'torchvision', 'mmengine', 'matplotlib', 'scipy', 'skimage', 'triton')
LIST = (
    'import sys; from liif_arch.cli import main; code = main(); '
    'print([m for m in {} if m in sys.modules]); '
    'sys.exit(code)'
)


def imported(cwd: Path, *arguments: str) -> list[str]:
    """Which of HEAVY a command has imported when it ends."""
    result = subprocess.run(
        [sys.executable, '-c', LIST.format(HEAVY), *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
    )
    assert result.returncode == 0, result.stderr
    return eval(result.stdout.strip().splitlines()[-1])


@pytest.mark.parametrize('weights', ['edsr', 'fast', 'liif', 'photo', 'small'])
def test_upscale__imports_what_it_uses(tmp_path, weights):
    write_photos(tmp_path, [(12, 14)], ['a'])
    assert imported(tmp_path, 'upscale', 'a.png', '--scale', '2', '--weights', weights) == []
    assert (tmp_path / 'a_x2.png').exists()


def test_upscale__of_another_network_imports_basicsr(tmp_path):
    """Its encoder is BasicSR's, which its plugins may have registered as well."""
    write_photos(tmp_path, [(12, 14)], ['a'])
    script = """
import torch
from liif_arch import LIIF
from liif_arch.training.checkpoints import save_file
encoder = {'type': 'MSRResNet', 'num_feat': 4, 'num_block': 1}
network = {'type': 'LIIF', 'encoder': encoder, 'hidden_list': [8]}
net = LIIF(encoder, [8])
save_file({'params': net.state_dict(), 'network_g': network}, 'w.pth')
"""
    subprocess.run([sys.executable, '-c', script], cwd=tmp_path, check=True, capture_output=True)
    assert 'basicsr' in imported(tmp_path, 'upscale', 'a.png', '--scale', '2', '--weights', 'w.pth')
    assert (tmp_path / 'a_x2.png').exists()


def test_complexity__imports_no_plugin(tmp_path):
    """MMEngine counts."""
    assert set(imported(tmp_path, 'complexity', '--weights', 'small')) <= {
        'mmengine',
        'scipy',
        'matplotlib',
    }


def test_export__imports_no_basicsr(tmp_path):
    for package in ('onnx', 'onnxscript', 'onnxruntime'):
        pytest.importorskip(package)
    found = imported(tmp_path, 'export', '--weights', 'small', '-o', 'onnx')
    assert set(found) <= {'triton'}  # by PyTorch's exporter


def test_register__makes_all_networks_known():
    script = """
import liif_arch.register
from basicsr.utils.registry import ARCH_REGISTRY
from mmengine.registry import MODELS
from liif_arch import archs
assert all(ARCH_REGISTRY.get(n) is archs.own_network(n) is MODELS.get(n) for n in archs.MODULES)
assert all(getattr(liif_arch, n) is archs.own_network(n) for n in archs.MODULES)
assert {'LIIF', 'LTE', 'MetaSR', 'Thera', 'SubPixelSR'} < set(archs.MODULES)
assert {'EDSREncoder', 'RDNEncoder'} < set(archs.MODULES)
"""
    subprocess.run([sys.executable, '-c', script], check=True)
