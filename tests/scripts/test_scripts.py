"""Scripts as a user runs them."""
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from liif_arch import LIIF, EDSREncoder, load_network
from liif_arch.bridge.checkpoints import load_file, save_file
from liif_data.store import open_store

SCRIPTS = Path(__file__).parents[2] / 'scripts'


def run(script: str, *arguments: object, cwd: Path) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, str(SCRIPTS / script), *map(str, arguments)], cwd=cwd, capture_output=True,
                          text=True)


@pytest.mark.parametrize('script', ['create_lmdb.py', 'convert_official_checkpoint.py'])
def test_help(tmp_path, script):
    result = run(script, '--help', cwd=tmp_path)
    assert result.returncode == 0 and 'usage' in result.stdout


def test_create_lmdb__builds_then_says_what_it_finds(photos):
    result = run('create_lmdb.py', 'gt', 'gt.lmdb', cwd=photos.parent)
    assert result.returncode == 0 and 'gt.lmdb: 4 images' in result.stdout and 'image/s' in result.stderr
    assert len(open_store(str(photos.parent / 'gt.lmdb'))) == 4
    again = run('create_lmdb.py', 'gt', 'gt.lmdb', cwd=photos.parent)
    assert again.returncode == 2 and again.stderr.count('\n') == 1 and 'holds the same 4 image names' in again.stderr
    raw = run('create_lmdb.py', 'gt', 'raw.lmdb', '--encoding', 'raw', cwd=photos.parent)
    assert raw.returncode == 0 and '.raw (60,72,3) uint8' in (photos.parent / 'raw.lmdb/meta_info.txt').read_text()
    bad = run('create_lmdb.py', 'gt', 'a.lmdb', '--encoding', 'row', cwd=photos.parent)
    assert bad.returncode == 2 and bad.stderr == "create_lmdb: encoding: found 'row'; did you mean raw?\n"
    for target, part in [('gt.db', 'named *.lmdb'), ('a.lmdb', 'nowhere: not a folder')]:
        bad = run('create_lmdb.py', 'nowhere', target, cwd=photos.parent)
        assert bad.returncode == 2 and part in bad.stderr and 'Traceback' not in bad.stderr


def test_convert__both_ways(tmp_path):
    network = {'type': 'LIIF', 'encoder': {'type': 'EDSREncoder', 'num_feat': 8, 'num_block': 1}, 'hidden_list': [9]}
    torch.manual_seed(0)
    net = LIIF(EDSREncoder(num_feat=8, num_block=1), [9])
    save_file({'params': net.state_dict(), 'network_g': network}, tmp_path / 'ours.pth')
    assert run('convert_official_checkpoint.py', 'ours.pth', 'theirs.pth', cwd=tmp_path).returncode == 0
    assert run('convert_official_checkpoint.py', 'theirs.pth', 'back.pth', cwd=tmp_path).returncode == 0
    back = load_file(tmp_path / 'back.pth')['params']
    assert all(torch.equal(v, back[k]) for k, v in net.state_dict().items())
    assert isinstance(load_network(tmp_path / 'theirs.pth'), LIIF)  # theirs load as they are, too


def test_convert__refuses(tmp_path):
    torch.save({'state_dict': {}}, tmp_path / 'other.pth')
    torch.save({'model': {'name': 'liif', 'args': {'encoder_spec': {'name': 'rdn'}, 'imnet_spec': {'args': {
        'hidden_list': [9]}}}, 'sd': {'encoder.SFENet1.bias': torch.zeros(4), 'stranger': torch.zeros(1)}}},
        tmp_path / 'cut.pth')
    cases = [('other.pth', ['needed "params"']), ('nowhere.pth', ['cannot read']),
             ('cut.pth', ['missing encoder.SFENet1.weight', 'unexpected stranger'])]
    for name, parts in cases:
        result = run('convert_official_checkpoint.py', name, 'out.pth', cwd=tmp_path)
        assert result.returncode == 2 and 'Traceback' not in result.stderr, result.stderr
        assert all(part in result.stderr for part in parts), result.stderr
    assert not (tmp_path / 'out.pth').exists()
