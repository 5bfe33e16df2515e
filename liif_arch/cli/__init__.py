"""The `basicsr` command: BasicSR's trainer and tester with every plugin, and upscaling."""

import sys
from importlib import import_module

COMMANDS = {
    'upscale': 'enlarge images:        basicsr upscale photo.jpg --scale 3.7',
    'view': 'look into images:      basicsr view photo.jpg',
    'compare': 'networks side by side: basicsr compare photo.jpg --scale 8 -o panel.png',
    'demo': 'a page for others:     basicsr demo',
    'finetune': 'train on your own:     basicsr finetune FOLDER',
    'train': 'train a network:       basicsr train -opt quickstart',
    'test': 'measure one:           basicsr test -opt quickstart',
    'check': 'check before a run:    basicsr check -opt quickstart',
    'options': 'option files:          basicsr options, basicsr options train_own --copy',
    'lmdb': 'images to an LMDB:     basicsr lmdb FOLDER TARGET.lmdb',
    'convert': "LIIF's own weights:    basicsr convert edsr-baseline-liif.pth liif_edsr.pth",
    'share': 'to a folder, the hub:  basicsr share net_g_latest.pth hf:OWNER/NAME',
    'export': 'to ONNX:               basicsr export --weights W -o DIR',
    'complexity': 'what a network costs:  basicsr complexity -opt quickstart',
}

USAGE = f"""usage: basicsr COMMAND ...

BasicSR with LIIF: super-resolution at any scale. Any BasicSR option file runs, and every
installed plugin is loaded.

commands:
{chr(10).join(f'  {name:<12}{text}' for name, text in COMMANDS.items())}

`basicsr COMMAND --help` lists the options of one command."""


def main() -> int:
    """Run one subcommand; returns the exit status (2: a mistake in what was asked)."""
    from liif_arch.errors import exit_status

    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ('-h', '--help'):
        return exit_status(lambda: print(USAGE), name='basicsr')
    if arguments[0] in ('-V', '--version'):
        from liif_arch import __version__

        return exit_status(lambda: print(f'basicsr-liif {__version__}'), name='basicsr')
    if arguments[0] not in COMMANDS:
        from liif_arch.errors import suggest

        hint = suggest(arguments[0], COMMANDS)
        print(f'basicsr: no command "{arguments[0]}"; {hint}', file=sys.stderr)
        return 2
    sys.argv = [f'{sys.argv[0]} {arguments[0]}', *arguments[1:]]
    command = import_module(f'liif_arch.cli.{arguments[0]}')
    stopped = getattr(command, 'STOPPED', 'stopped.')
    return exit_status(command.main, stopped, f'basicsr {arguments[0]}')
