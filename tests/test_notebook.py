"""docs/colab.ipynb, run cell by cell in a kernel of this environment."""

import os
import re
import sys
import urllib.request
from pathlib import Path

import pytest

nbformat = pytest.importorskip('nbformat')
nbclient = pytest.importorskip('nbclient')
pytest.importorskip('ipykernel')
pytestmark = pytest.mark.slow
NOTEBOOK = Path(__file__).parent.parent / 'docs/colab.ipynb'


def outputs(cell: dict, kind: str) -> list[str]:
    """What a cell showed, of one MIME type."""
    return [output['data'][kind] for output in cell['outputs'] if kind in output.get('data', {})]


def test_notebook__is_committed_without_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert not any(cell.get('outputs') for cell in notebook.cells)


def test_notebook__runs(tmp_path, monkeypatch):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    [training] = [cell for cell in notebook.cells if 'ITERATIONS = 1500' in cell.source]
    training.source = training.source.replace('1500', '20')
    monkeypatch.setenv('PATH', f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}')
    monkeypatch.setenv('PIP_NO_INDEX', '1')  # all is there already
    client = nbclient.NotebookClient(
        notebook, timeout=300, resources={'metadata': {'path': str(tmp_path)}}
    )
    with client.setup_kernel():
        for number, cell in enumerate(notebook.cells):
            client.execute_cell(cell, number)
        by_text = {cell.source: cell for cell in notebook.cells}
        [view] = [cell for text, cell in by_text.items() if 'View(PHOTO)' in text]
        address = re.search(r'src="(http://127[^"]+)"', outputs(view, 'text/html')[0])[1]
        with urllib.request.urlopen(address) as answer:
            assert b'<canvas' in answer.read()
    assert (1669, 1110) == eval(outputs(notebook.cells[5], 'text/plain')[0])
    pictures = [
        cell for cell in notebook.cells if cell.get('outputs') and outputs(cell, 'image/png')
    ]
    assert len(pictures) == 5  # the photograph, the panel, the curve, the comparison, the last one
    assert (tmp_path / 'experiments/quickstart/metrics.json').is_file()
