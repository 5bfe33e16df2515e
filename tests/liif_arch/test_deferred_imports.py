"""What is imported when it is needed is what it would have been, and is not imported before."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import tiny_train, write_options

UNNEEDED = ('pytorch_optimizer', 'scipy.stats', 'sympy', 'torch._dynamo')


def run_python(code: str, cwd: Path, *arguments: str) -> str:
    """What a program prints."""
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_commands__import_nothing_that_they_do_not_use(tmp_path, photos):
    code = (
        'import sys; from liif_arch.cli import main; assert main() == 0; '
        f'print([name for name in {UNNEEDED} if name in sys.modules])'
    )
    write_options(tmp_path / 'o.yml', tiny_train(photos, train__total_iter=2))
    for command in ('train', 'test'):
        output = run_python(code, tmp_path, command, '-opt', 'o.yml')
        assert output.splitlines()[-1] == '[]', command


def test_deferred__does_what_the_imported_does(tmp_path):
    """The stand-ins are gone, and what they stood for answers."""
    run_python(
        """
import sys
import liif_arch.register
from torchvision.ops import roi_align
from basicsr.data import degradations
assert not {'torch._dynamo', 'torch._dynamo.utils', 'scipy.stats'} & set(sys.modules)

import numpy as np
kernel = degradations.bivariate_Gaussian(7, 2, 2, 0, isotropic=True)
chance = degradations.multivariate_normal.cdf([0.0, 0.0], cov=np.eye(2))  # 1/4, of both halves
assert abs(chance - 0.25) < 1e-6 and abs(kernel.sum() - 1) < 1e-6
assert abs(degradations.multivariate_normal([0, 0], np.eye(2)).pdf([0, 0]) * 2 * np.pi - 1) < 1e-9
assert 'scipy.stats' in sys.modules and 'torch._dynamo' not in sys.modules

import torch
image = torch.arange(16.0).view(1, 1, 4, 4)
box = torch.tensor([[0.0, 0.0, 0.0, 4.0, 4.0]])
assert roi_align(image, box, 2, aligned=True).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
module = sys.modules[roi_align.__module__]
assert module.is_compile_supported('cpu') in (True, False) and 'torch._dynamo' in sys.modules
import torch._dynamo, torch._dynamo.utils
assert module.is_compile_supported('cpu') == torch._dynamo.utils.is_compile_supported('cpu')
""",
        tmp_path,
    )


def test_stand_in__is_the_module_itself_to_whoever_asks_for_more(tmp_path):
    """Another torchvision may take more of the module, or import it whole."""
    (tmp_path / 'heavy.py').write_text('def used():\n    return 1\n\n\nclass More:\n    pass\n')
    (tmp_path / 'taker.py').write_text('from heavy import used\nfrom heavy import More\n')
    run_python(
        """
import sys
from liif_arch import deferred_imports
deferred_imports.DEFERRED['taker'] = ('heavy', 'used')
import taker
import heavy
assert taker.More is heavy.More and sys.modules['heavy'] is heavy
assert heavy.__file__ and taker.used() == 1
""",
        tmp_path,
    )


@pytest.mark.parametrize('first', ['liif_arch', 'torch._dynamo', 'torch'])
def test_step__is_the_same_with_and_without_the_compiler(tmp_path, first):
    """An optimiser that is differentiable keeps its gradients; another one has none."""
    output = run_python(
        f"""
import sys
import {first}
import liif_arch
import torch
of_torch = sys.modules['torch.optim.optimizer']
seen = []

class Noted(torch.optim.Adam):
    @of_torch._use_grad_for_differentiable
    def step(self):
        seen.append(torch.is_grad_enabled())
        raise ValueError

for differentiable in (False, True):
    p = torch.nn.Parameter(torch.ones(2))
    noted = Noted([p], lr=0.1, differentiable=differentiable)
    for is_enabled in (True, False):
        with torch.set_grad_enabled(is_enabled):
            try:
                noted.step()
            except ValueError:
                assert torch.is_grad_enabled() is is_enabled
p = torch.nn.Parameter(torch.ones(2))
adam = torch.optim.Adam([p], lr=0.1)
p.grad = torch.tensor([1.0, -2.0])
adam.step()
adam.zero_grad()
state = adam.state_dict()
adam.load_state_dict(state)
adam.add_param_group({{'params': [torch.nn.Parameter(torch.ones(1))]}})
values = [round(value, 4) for value in p.tolist()]
print(seen, values, p.grad, len(adam.param_groups), 'torch._dynamo' in sys.modules)
""",
        tmp_path,
    )
    is_compiler_here = first != 'liif_arch'
    expected = '[False, False, True, True] [0.9, 1.1] None 2'
    assert output == f'{expected} {is_compiler_here}\n'


def test_compiled_step__is_not_traced_where_it_must_not_be(tmp_path):
    """The compiler, imported after the functions were decorated, still finds them hidden."""
    run_python(
        """
import liif_arch, torch
p = torch.nn.Parameter(torch.ones(2))
adam = torch.optim.Adam([p], lr=0.1)
p.grad = torch.tensor([1.0, -2.0])
adam.step()
import torch._dynamo

@torch.compile(backend='eager')
def step():
    adam.zero_grad(set_to_none=False)
    p.grad.add_(1.0)
    adam.step()

step()
step()
plain = torch.nn.Parameter(torch.ones(2))
other = torch.optim.Adam([plain], lr=0.1)
for grad in ([1.0, -2.0], [1.0, 1.0], [1.0, 1.0]):
    plain.grad = torch.tensor(grad)
    other.step()
torch.testing.assert_close(plain, p)
""",
        tmp_path,
    )


DISTRIBUTED = """
import sys
import liif_arch.register
import torch
import torch.distributed
from liif_arch.training.remedies import Distributed

store = torch.distributed.FileStore(sys.argv[1], 1)
torch.distributed.init_process_group('gloo', store=store, rank=0, world_size=1)
net = torch.nn.Linear(2, 2)
with torch.no_grad():
    net.weight.copy_(torch.eye(2)), net.bias.zero_()
"""


def test_distributed__imports_no_compiler(tmp_path):
    """What it would have said, had it been asked, is what it says when it is imported later."""
    code = """
parallel = Distributed(net)
parallel(torch.ones(3, 2)).sum().backward()
assert net.weight.grad.tolist() == [[3, 3], [3, 3]]
assert 'torch._dynamo' not in sys.modules and '_dynamo' not in vars(torch)
assert torch._dynamo.utils.get_optimize_ddp_mode() == 'ddp_optimizer'
assert 'torch._dynamo' in sys.modules and not parallel._use_python_reducer
"""
    run_python(DISTRIBUTED + code, tmp_path, str(tmp_path / 'store'))


def test_distributed__asks_the_compiler_that_is_there(tmp_path):
    """Somebody who imported it may have told it to compile gradients."""
    code = """
import torch._dynamo.config
torch._dynamo.config.optimize_ddp = 'python_reducer'
assert Distributed(net)._use_python_reducer
"""
    run_python(DISTRIBUTED + code, tmp_path, str(tmp_path / 'store'))


def test_defaults__are_the_compiler_itself_to_whoever_asks_for_more(tmp_path):
    run_python(
        """
import sys
import torch
from liif_arch.deferred_imports import compiler_with_defaults

with compiler_with_defaults():
    assert torch._dynamo.utils.get_optimize_ddp_mode() == 'ddp_optimizer'
    assert 'torch._dynamo' not in sys.modules
    counters = torch._dynamo.utils.counters
assert counters is torch._dynamo.utils.counters and torch._dynamo.__file__
""",
        tmp_path,
    )


def test_optimizers__of_pytorch_optimizer_are_imported_when_one_is_named(tmp_path):
    pytest.importorskip('pytorch_optimizer')
    output = run_python(
        """
import sys
from liif_arch.config import registries
known = registries.optimizers()
assert 'Muon' in known and 'Adam' in known and len(list(known)) == len(known)
assert known['Adam'].__module__ == 'torch.optim.adam'
before = 'pytorch_optimizer' in sys.modules
print(before, known['Muon'].__module__.partition('.')[0])
""",
        tmp_path,
    )
    assert output == 'False pytorch_optimizer\n'
