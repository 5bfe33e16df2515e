"""Runs that must be refused in one line, before anything is created or moved."""

from helpers import run_here, write_options


def run_bad(monkeypatch, tmp_path, capsys, opt: dict, command: str = 'train') -> str:
    """Run with an earlier experiment in place; returns the one line of error."""
    earlier = tmp_path / 'experiments/tiny'
    earlier.mkdir(parents=True)
    (earlier / 'precious').write_text('x')
    path = write_options(tmp_path / 'a.yml', opt)
    before = sorted(str(p) for p in tmp_path.rglob('*'))
    assert run_here(monkeypatch, tmp_path, command, '-opt', path) == 2
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if line.startswith(f'basicsr {command}: ')]
    assert len(lines) == 1 and 'Traceback' not in captured.err
    assert sorted(str(p) for p in tmp_path.rglob('*')) == before
    return lines[0]
