"""What the command line says of flags that there are not."""

import pytest
from helpers import run_here

UPSCALE = ('upscale', 'a.png')


@pytest.mark.parametrize(
    'arguments,text',
    [
        # argparse itself would say that one of several flags is required.
        ((*UPSCALE, '--scael', '2'), '--scael; did you mean --scale?'),
        ((*UPSCALE, '--scale', '2', '--wieghts=x'), '--wieghts; did you mean --weights?'),
        (('train', '-opt', 'quickstart', '--lanucher', 'none'), 'did you mean --launcher?'),
        (('train', '--auto'), '--auto; did you mean --auto_resume?'),  # takes no abbreviations
        (('export', '--zzzzzz'), '--zzzzzz; --help lists those that there are.'),
        ((*UPSCALE, '--sca'), '--scale: expected one argument'),
        (('finetune',), 'the following arguments are required: FOLDER'),
        (('convert', '--', '--x'), 'arguments are required'),  # a name
    ],
)
def test_error__names_the_flag_that_there_is_not(monkeypatch, tmp_path, capsys, arguments, text):
    with pytest.raises(SystemExit) as end:
        run_here(monkeypatch, tmp_path, *arguments)
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert end.value.code == 2 and text in last and last.startswith('basicsr '), last
    assert not list(tmp_path.iterdir())
