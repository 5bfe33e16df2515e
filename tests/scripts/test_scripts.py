"""Scripts as a user runs them."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import photo, run_basicsr, tiny_train, write_options, write_photos

from liif_arch import LIIF, EDSREncoder, load_network
from liif_arch.files.images import write_image
from liif_arch.training.checkpoints import load_file, save_file
from liif_data.store import open_store

SCRIPTS = Path(__file__).parents[2] / 'scripts'


def run(script: str, *arguments: object, cwd: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(SCRIPTS / script), *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize('script', ['create_lmdb.py', 'convert_official_checkpoint.py'])
def test_help(tmp_path, script):
    result = run(script, '--help', cwd=tmp_path)
    assert result.returncode == 0 and 'usage' in result.stdout


def test_create_lmdb__builds_then_says_what_it_finds(photos):
    result = run('create_lmdb.py', 'gt', 'gt.lmdb', cwd=photos.parent)
    assert result.returncode == 0 and 'gt.lmdb: 4 images' in result.stdout and not result.stderr
    assert len(open_store(str(photos.parent / 'gt.lmdb'))) == 4
    again = run('create_lmdb.py', 'gt', 'gt.lmdb', cwd=photos.parent)
    assert (
        again.returncode == 2
        and again.stderr.count('\n') == 1
        and 'holds the same 4 image names' in again.stderr
    )
    raw = run('create_lmdb.py', 'gt', 'raw.lmdb', '--encoding', 'raw', cwd=photos.parent)
    assert (
        raw.returncode == 0
        and '.raw (60,72,3) uint8' in (photos.parent / 'raw.lmdb/meta_info.txt').read_text()
    )
    bad = run('create_lmdb.py', 'gt', 'a.lmdb', '--encoding', 'row', cwd=photos.parent)
    assert (
        bad.returncode == 2
        and bad.stderr == "create_lmdb: encoding: found 'row'; did you mean raw?\n"
    )
    for target, part in [('gt.db', 'named *.lmdb'), ('a.lmdb', 'nowhere: not a folder')]:
        bad = run('create_lmdb.py', 'nowhere', target, cwd=photos.parent)
        assert bad.returncode == 2 and part in bad.stderr and 'Traceback' not in bad.stderr


def test_convert__both_ways(tmp_path):
    network = {
        'type': 'LIIF',
        'encoder': {'type': 'EDSREncoder', 'num_feat': 8, 'num_block': 1},
        'hidden_list': [9],
    }
    torch.manual_seed(0)
    net = LIIF(EDSREncoder(num_feat=8, num_block=1), [9])
    save_file({'params': net.state_dict(), 'network_g': network}, tmp_path / 'ours.pth')
    assert (
        run('convert_official_checkpoint.py', 'ours.pth', 'theirs.pth', cwd=tmp_path).returncode
        == 0
    )
    assert (
        run('convert_official_checkpoint.py', 'theirs.pth', 'back.pth', cwd=tmp_path).returncode
        == 0
    )
    back = load_file(tmp_path / 'back.pth')['params']
    assert all(torch.equal(v, back[k]) for k, v in net.state_dict().items())
    assert isinstance(load_network(tmp_path / 'theirs.pth'), LIIF)  # theirs load as they are, too


def test_convert__refuses(tmp_path):
    torch.save({'state_dict': {}}, tmp_path / 'other.pth')
    torch.save(
        {
            'model': {
                'name': 'liif',
                'args': {
                    'encoder_spec': {'name': 'rdn'},
                    'imnet_spec': {'args': {'hidden_list': [9]}},
                },
                'sd': {'encoder.SFENet1.bias': torch.zeros(4), 'stranger': torch.zeros(1)},
            }
        },
        tmp_path / 'cut.pth',
    )
    cases = [
        ('other.pth', ['needed "params"']),
        ('nowhere.pth', ['cannot read']),
        ('cut.pth', ['missing encoder.SFENet1.weight', 'unexpected stranger']),
    ]
    for name, parts in cases:
        result = run('convert_official_checkpoint.py', name, 'out.pth', cwd=tmp_path)
        assert result.returncode == 2 and 'Traceback' not in result.stderr, result.stderr
        assert all(part in result.stderr for part in parts), result.stderr
    assert not (tmp_path / 'out.pth').exists()


def test_ship_weights__of_a_training_in_two_steps(tmp_path, photos):
    for name, start in (
        ('one', {}),
        ('two', {'path__pretrain_network_g': 'experiments/one/models/net_g_latest.pth'}),
    ):
        opt = tiny_train(
            photos,
            name=name,
            train__total_iter=4,
            val__val_freq=2,
            val__bicubic=True,
            logger__print_freq=1,
            train__ema_decay=0.9,
            **start,
        )
        write_options(tmp_path / f'{name}.yml', opt)
        assert run_basicsr('train', '-opt', f'{name}.yml', cwd=tmp_path).returncode == 0
    steps = ['experiments/one', 'experiments/two']
    result = run('ship_weights.py', 'tiny', *steps, '--out', 'w', cwd=tmp_path)
    assert result.returncode == 0 and '8 iterations' in result.stdout, result.stderr
    content = load_file(tmp_path / 'w/tiny.pth')
    trained = load_network(
        tmp_path / 'experiments/two/models/net_g_latest.pth'
    ).state_dict()  # its EMA
    assert all(
        v.dtype == torch.float16 and torch.equal(v, trained[k].half())
        for k, v in content['params'].items()
    )
    net = load_network(tmp_path / 'w/tiny.pth')
    assert all(torch.equal(v, trained[k].half().float()) for k, v in net.state_dict().items())
    assert (tmp_path / 'w/tiny.png').read_bytes().startswith(b'\x89PNG')
    sys.path.insert(0, str(SCRIPTS))
    from ship_weights import read_curves

    curves = read_curves([tmp_path / step for step in steps])
    assert list(curves.loss) == list(range(1, 9)) and curves.ends == [4, 8]
    assert list(curves.psnr) == list(curves.bicubic) == [('v', 'x2'), ('v', 'x2.5'), ('v', 'x2x3')]
    assert all(
        list(psnr) == [2, 4, 6, 8] and max(psnr.values()) < 60 for psnr in curves.psnr.values()
    )
    empty = run('ship_weights.py', 'tiny', 'experiments', cwd=tmp_path)
    assert (
        empty.returncode == 2 and empty.stderr.count('\n') == 1 and 'no train_*.log' in empty.stderr
    )


def test_prepare_release__folders_held_out_and_lmdb(tmp_path):
    for name, count, side in (('BSDS400', 26, 97), ('T91', 3, 100), ('ImageNet928', 25, 200)):
        write_photos(tmp_path / 'in' / name, [(side, side + 3)] * count)
    write_image(tmp_path / 'in/T91/small.png', photo(50, 200))
    write_image(tmp_path / 'in/T91/large.png', photo(170, 160))
    result = run('prepare_release.py', 'in', 'out', cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    train, held = (
        sorted(p.stem for p in (tmp_path / 'out' / name).iterdir()) for name in ('train', 'heldout')
    )
    assert held == sorted(
        f'{n}_im{2 * i:02d}' for n in ('BSDS400', 'ImageNet928') for i in range(12)
    )
    assert (
        len(train) == 26 + 4 + 25 - 24 and 'T91_small' not in train and not set(train) & set(held)
    )
    store = open_store(str(tmp_path / 'out/train.lmdb'))
    assert (
        store.keys == train
        and store.size('ImageNet928_im01') == (100, 101)
        and store.size('T91_im00') == (100, 103)
    )
    assert open_store(str(tmp_path / 'out/large.lmdb')).keys == ['T91_large']
    for arguments, part in (
        (('in', 'out'), 'out exists'),
        (('in/T91', 'other'), 'needed the folder BSDS400'),
    ):
        bad = run('prepare_release.py', *arguments, cwd=tmp_path)
        assert bad.returncode == 2 and part in bad.stderr and 'Traceback' not in bad.stderr
