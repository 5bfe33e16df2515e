"""The `basicsr` command: BasicSR's trainer and tester, with every installed plugin, and upscaling to any size."""
import sys
from importlib import import_module

COMMANDS = {
    'train': 'train a model:       basicsr train -opt quickstart',
    'test': 'test a model:        basicsr test -opt options/test_liif_edsr.yml',
    'check': 'check first:         basicsr check -opt options/train_liif_edsr.yml',
    'upscale': 'enlarge images:      basicsr upscale photo.jpg --scale 3.7',
    'export': 'to ONNX:             basicsr export --weights W -o DIR',
    'complexity': 'what it costs:       basicsr complexity -opt options/train_liif_edsr.yml',
    'options': 'shipped options:     basicsr options [NAME --copy]',
}

USAGE = f"""usage: basicsr COMMAND ...

BasicSR with LIIF: super-resolution at any scale. Any BasicSR option file runs, and every installed plugin is loaded.

commands:
{chr(10).join(f'  {name:<12}{text}' for name, text in COMMANDS.items())}

`basicsr COMMAND --help` lists the options of one command."""


def main() -> int:
    """Run one subcommand; returns the exit status (2: a mistake in what was asked, said in one line)."""
    from liif_arch.errors import exit_status
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ('-h', '--help'):
        print(USAGE)
        return 0
    if arguments[0] in ('-V', '--version'):
        from liif_arch import __version__
        print(f'basicsr-liif {__version__}')
        return 0
    if arguments[0] not in COMMANDS:
        from liif_arch.errors import suggest
        print(f'basicsr: no command "{arguments[0]}"; {suggest(arguments[0], COMMANDS)}', file=sys.stderr)
        return 2
    sys.argv = [f'{sys.argv[0]} {arguments[0]}', *arguments[1:]]
    again = ' The same command with --auto_resume goes on from the last saved state.' * (arguments[0] == 'train')
    command = import_module(f'liif_arch.cli.{arguments[0]}').main
    return exit_status(command, f'stopped.{again}', f'basicsr {arguments[0]}')
