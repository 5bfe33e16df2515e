"""What a start costs: each network is built for one rehearsal and for the run, and nothing more."""

import functools

import pytest
import torch
from helpers import paired_options, run_here, tiny_train, write_options

from liif_arch.archs.liif_arch import LIIF


@pytest.fixture
def counts(monkeypatch) -> dict[str, int]:
    """How often a LIIF is built, weights are read and its optimiser takes a step."""
    found = dict.fromkeys(('built', 'read', 'steps'), 0)
    init, step, load = LIIF.__init__, torch.optim.Adam.step, torch.load

    @functools.wraps(init)  # its signature says which options there are, and is remembered
    def built(self, *args, **kwargs):
        found['built'] += 1
        init(self, *args, **kwargs)

    def stepped(self, *args, **kwargs):
        values = sum(parameter.numel() for parameter in self.param_groups[0]['params'])
        found['steps'] += values > 2  # two are of the check of an optimiser's options
        return step(self, *args, **kwargs)

    def read(file, *args, **kwargs):
        found['read'] += str(file).endswith('.pth')
        return load(file, *args, **kwargs)

    monkeypatch.setattr(LIIF, '__init__', built)
    monkeypatch.setattr(torch.optim.Adam, 'step', stepped)
    monkeypatch.setattr(torch, 'load', read)
    return found


def test_train__one_iteration_is_one_step(monkeypatch, tmp_path, photos, counts, capsys):
    """BasicSR builds the network and its average; the rehearsal builds the same, once."""
    options = tiny_train(photos, train__total_iter=1)
    path = write_options(tmp_path / 'o.yml', options)
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', path) == 0
    assert counts == {'built': 2 * 2, 'read': 0, 'steps': 1 + 1}
    assert capsys.readouterr().out.count('Rehearsing one step.') == 1


def test_train__goes_on_at_the_same_cost(monkeypatch, tmp_path, photos, counts):
    path = write_options(tmp_path / 'o.yml', tiny_train(photos, train__total_iter=2))
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', path) == 0
    options = tiny_train(photos, train__total_iter=3)
    path = write_options(tmp_path / 'o.yml', options)
    counts.update(built=0, steps=0)
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', path, '--auto_resume') == 0
    assert (counts['built'], counts['steps']) == (2 * 2, 1 + 1)


def test_test__rehearses_no_step_and_reads_its_weights_twice(
    monkeypatch, tmp_path, photos, counts, capsys
):
    path = write_options(tmp_path / 'o.yml', tiny_train(photos, train__total_iter=1))
    assert run_here(monkeypatch, tmp_path, 'train', '-opt', path) == 0
    capsys.readouterr()
    counts.update(built=0, read=0, steps=0)
    assert run_here(monkeypatch, tmp_path, 'test', '-opt', path) == 0
    assert counts == {'built': 2, 'read': 2, 'steps': 0}
    assert 'Rehearsing' not in capsys.readouterr().out


def test_check__of_options_changes_none_of_them(monkeypatch, tmp_path, photos):
    import copy

    from liif_arch.training import launch, preflight

    seen, check = [], preflight.check

    def compared(opt, problems):
        before = copy.deepcopy(opt)
        result = check(opt, problems)
        seen.append(opt == before and list(opt) == list(before))
        return result

    monkeypatch.setattr(preflight, 'check', compared)
    for options in (tiny_train(photos, train__total_iter=1.0), paired_options(tmp_path)):
        path = write_options(tmp_path / 'o.yml', options)
        assert run_here(monkeypatch, tmp_path, 'train', '-opt', path) == 0
    assert seen == [True, True] and launch.CheckedOptions().opt == {}
