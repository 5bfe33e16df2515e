"""A file appears whole or not at all."""

import pytest

from liif_arch.files.atomic import atomic_write


def test_atomic_write__replaces_when_done(tmp_path):
    (tmp_path / 'a').write_text('old')
    with atomic_write(tmp_path / 'a') as file:
        file.write(b'new')
        assert (tmp_path / 'a').read_text() == 'old'
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [('a', 'new')]


def test_atomic_write__leaves_the_old_file_when_it_fails(tmp_path):
    (tmp_path / 'a').write_text('old')
    with pytest.raises(OSError), atomic_write(tmp_path / 'a') as file:
        file.write(b'ne')
        raise OSError(28, 'No space left on device')
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [('a', 'old')]
