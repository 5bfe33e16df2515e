"""Rendering on a grid: blocks, precision, and the Triton kernel in Triton's interpreter."""

import os
import subprocess
import sys
import textwrap
from functools import partial
from itertools import product

import pytest
import torch

from liif_arch import LIIF
from liif_arch.coordinates import grid_lookup
from liif_arch.decode.first_layer import GridDecoder
from liif_arch.decode.lookup import Grid
from liif_arch.decode.render import decode_tile
from liif_arch.decode.tiles import decode_tiles
from liif_arch.errors import UserError
from liif_arch.precision import has_bfloat16

ENCODER = {'type': 'EDSREncoder', 'num_feat': 6, 'num_block': 1}


def grid(
    net: LIIF, feat: torch.Tensor, size: tuple[int, int], dtype: torch.dtype, chunk: int
) -> torch.Tensor:
    """A network's decoder on the grid, with every choice spelled out."""
    full = tuple(feat.shape[-2:])
    cell = (2 * full[0] / size[0], 2 * full[1] / size[1])
    rows, cols = (
        grid_lookup(n, m, net.flags['local_ensemble']) for n, m in zip(size, full, strict=True)
    )
    decode = partial(decode_tile, GridDecoder.of(net.imnet, net.first_layer(), dtype))
    table = net.grid_table(feat, cell)
    return decode_tiles(decode, table, Grid.of(rows, cols, cell), net.num_out_ch, chunk)


@torch.no_grad()
@pytest.mark.parametrize('size', [(11, 18), (5, 7), (3, 2), (61, 140), (1, 1)])
@pytest.mark.parametrize('local_ensemble', [True, False])
def test_decode_tiles__blocks_change_nothing(size, local_ensemble):
    torch.manual_seed(0)
    net = LIIF(ENCODER, [16, 16], local_ensemble=local_ensemble)
    feat = torch.randn(2, 6, 5, 7)
    whole = grid(net, feat, size, torch.float32, 10**6)
    assert whole.shape == (2, 3, *size)
    for chunk in (1, 70, 700):
        torch.testing.assert_close(
            grid(net, feat, size, torch.float32, chunk), whole, rtol=0, atol=2e-6
        )


@torch.no_grad()
def test_decode_tiles__bfloat16_is_near():
    torch.manual_seed(0)
    net = LIIF(ENCODER, [64, 64, 64])
    feat = torch.randn(1, 6, 9, 11)
    exact, rough = (
        grid(net, feat, (40, 31), dtype, 500) for dtype in (torch.float32, torch.bfloat16)
    )
    assert rough.dtype == torch.float32
    assert 0 < (rough - exact).pow(2).mean().sqrt() < 2e-3 * exact.std() + 2e-4


@torch.no_grad()
def test_render__network_precision():
    net = LIIF(ENCODER, [16, 16], precision='auto')
    lq = torch.rand(1, 3, 6, 5)
    assert (net.render_dtype() == torch.bfloat16) == has_bfloat16(torch.device('cpu'))
    automatic = net(lq, size=(13, 11))
    net.precision = 'float32'
    assert automatic.dtype == torch.float32
    torch.testing.assert_close(net(lq, size=(13, 11)), automatic, rtol=0, atol=5e-3)


def test_precision__refused(monkeypatch):
    with pytest.raises(UserError, match="precision: found 'bfloat'; did you mean bfloat16?"):
        LIIF(ENCODER, precision='bfloat')
    monkeypatch.setattr('liif_arch.precision.has_bfloat16', lambda device: False)
    net = LIIF(ENCODER, precision='bfloat16')
    with pytest.raises(
        UserError, match='precision: found bfloat16, which this CPU .* has no instructions for'
    ):
        net.render(torch.rand(1, 6, 4, 4), (8, 8))
    net.precision = 'auto'
    assert net.render_dtype() == torch.float32


def test_fused__equals_the_grid_in_the_interpreter():
    """The Triton kernel on a CPU: a batch, both ensembles, one to three hidden layers, odd sizes.

    In float32, which is exact, and in float16; the interpreter has no bfloat16.
    """
    pytest.importorskip('triton')
    script = """
        import itertools, sys, torch
        from liif_arch import LIIF
        from liif_arch.coordinates import grid_lookup
        from liif_arch.decode import fused
        from liif_arch.decode.first_layer import GridDecoder
        from liif_arch.decode.lookup import Grid
        assert fused.INTERPRETED
        torch.manual_seed(0)
        outputs = ((3, (11, 18)), (1, (1, 1)))
        for layers, ensemble, (colours, size) in itertools.product((2, 4), (True, False), outputs):
            encoder = {'type': 'EDSREncoder', 'num_feat': 8, 'num_block': 1}
            widths = [32 << layers // 2] * layers
            net = LIIF(encoder, widths, local_ensemble=ensemble, num_out_ch=colours)
            with torch.no_grad():
                table = net.grid_table(torch.randn(2, 8, 5, 7), (0.5, 0.5))
                lookups = [grid_lookup(n, m, ensemble) for n, m in zip(size, (5, 7))]
                grid = Grid.of(*lookups, (0.5, 0.5))
                expected = net.decode_grid(table, grid)
                first = net.first_layer()
                decoder = GridDecoder.of(net.imnet, first, torch.float32)
                found = fused.render_grid(decoder, table, grid)
                torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
                assert expected.std() > 1e-3
                decoder = GridDecoder.of(net.imnet, first, torch.float16)
                rough = fused.render_grid(decoder, table, grid)
                torch.testing.assert_close(rough, expected, rtol=0, atol=2e-3)
                assert not torch.equal(rough, expected)
                table[0, 2, 3] = torch.nan
                broken = fused.render_grid(decoder, table, grid).isnan()
                assert torch.equal(broken, net.decode_grid(table, grid).isnan())
                assert broken.any()
        print('equal')
    """
    result = subprocess.run(
        [sys.executable, '-c', textwrap.dedent(script)],
        capture_output=True,
        text=True,
        env={**os.environ, 'TRITON_INTERPRET': '1'},
        timeout=300,
    )
    assert result.stdout.strip() == 'equal', result.stderr[-2000:]


CAPABILITIES = [(8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0)]
BUILDS = [*product((torch.bfloat16, torch.float16), (256,), CAPABILITIES)]
BUILDS += [(torch.bfloat16, 64, (8, 6))]  # narrower layers take less; here of the least memory


@pytest.mark.parametrize('dtype,width,capability', BUILDS)
def test_fused__compiles_for_every_gpu_and_fits(capability, dtype, width):
    """Ahead of time, without a GPU: little spills, and shared memory is what a block may have."""
    pytest.importorskip('triton')
    from liif_arch.decode import fused
    from liif_arch.decode.fused_resources import MOST_SPILLED, SHARED_LIMITS, resources

    cuts = fused.choices(capability)
    for cut in cuts if dtype == torch.bfloat16 else cuts[:2][-1:]:
        found = resources(capability, dtype, width, cut)
        assert 32 <= found.registers <= 255 and found.spilled <= MOST_SPILLED, (cut, found)
        assert 0 < found.shared <= SHARED_LIMITS[capability], (cut, found)


def test_fused_resources__sees_what_spills():
    """A cut that is not tried: a thread's part of the hidden state does not fit its registers."""
    pytest.importorskip('triton')
    from liif_arch.decode.fused import Blocks
    from liif_arch.decode.fused_resources import MOST_SPILLED, resources

    assert resources((8, 6), torch.bfloat16, 256, Blocks(128, 4)).spilled > MOST_SPILLED


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@torch.no_grad()
@pytest.mark.parametrize('precision', ['float32', 'bfloat16'])
def test_render__on_a_gpu_as_in_float64(monkeypatch, precision):
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', False)
    torch.manual_seed(0)
    net = LIIF(ENCODER, [64, 64, 64], precision=precision)
    lq = torch.rand(2, 3, 9, 13)
    exact = net.double()(lq.double(), size=(31, 50))
    image = net.float().cuda()(lq.cuda(), size=(31, 50)).cpu().double()
    torch.testing.assert_close(image, exact, rtol=0, atol=1e-5 if precision == 'float32' else 2e-2)
