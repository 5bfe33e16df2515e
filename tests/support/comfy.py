"""A stand-in of ComfyUI: how it loads node packages, checks a workflow, and runs it.

Written after ComfyUI's documented contract of custom nodes; it is stricter where ComfyUI lets
mistakes pass until they are used.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

CASTS = {'INT': int, 'FLOAT': float, 'STRING': str, 'BOOLEAN': bool}


class Refused(Exception):
    """A workflow that does not pass the check."""


def load(path: Path) -> tuple[dict[str, type], dict[str, str]]:
    """The nodes of a file in `custom_nodes`, and what they are called."""
    spec = importlib.util.spec_from_file_location(str(path.with_suffix('')), path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    nodes, titles = module.NODE_CLASS_MAPPINGS, module.NODE_DISPLAY_NAME_MAPPINGS
    assert titles.keys() == nodes.keys()
    for name, node in nodes.items():
        taken = node.INPUT_TYPES()
        assert set(taken) <= {'required', 'optional', 'hidden'}, name
        assert isinstance(node.RETURN_TYPES, tuple), name
        assert isinstance(node.CATEGORY, str) and isinstance(node.DESCRIPTION, str), name
        assert callable(getattr(node, node.FUNCTION)), name
    return nodes, titles


def run(nodes: dict[str, type], workflow: dict[str, dict], given: dict[str, tuple]) -> dict:
    """Check and run a workflow.

    Args:
        nodes: Classes by name.
        workflow: {id: {'class_type': name, 'inputs': {name: value or [id, output]}}}, in an order
            in which it can run.
        given: Outputs of nodes that are not in it: {id: ((type, value), ...)}.

    Returns:
        The outputs of each node.
    """
    outputs = {key: tuple(value for _, value in parts) for key, parts in given.items()}
    types = {key: tuple(kind for kind, _ in parts) for key, parts in given.items()}
    for key, entry in workflow.items():
        node = nodes[entry['class_type']]
        arguments = {}
        declared = node.INPUT_TYPES()
        for name, information in declared['required'].items():
            if name not in entry['inputs']:
                raise Refused(f'{name}: required')
            arguments[name] = _value(name, information, entry['inputs'][name], outputs, types)
        for name, information in declared.get('optional', {}).items():
            if name in entry['inputs']:
                arguments[name] = _value(name, information, entry['inputs'][name], outputs, types)
        result = getattr(node(), node.FUNCTION)(**arguments)
        assert isinstance(result, tuple) and len(result) == len(node.RETURN_TYPES)
        outputs[key], types[key] = result, node.RETURN_TYPES
    return outputs


def _value(name: str, information: tuple, value: Any, outputs: dict, types: dict) -> Any:
    """What a node is given for one of its inputs."""
    kind, options = information[0], information[1] if len(information) > 1 else {}
    if isinstance(value, list):
        source, number = value
        if types[source][number] != kind:
            raise Refused(f'{name}: {types[source][number]} for {kind}')
        return outputs[source][number]
    if isinstance(kind, list):
        if value not in kind:
            raise Refused(f'{name}: {value} is none of {kind}')
        return value
    if kind not in CASTS:
        raise Refused(f'{name}: needs a link')
    value = CASTS[kind](value)
    if not options.get('min', value) <= value <= options.get('max', value):
        raise Refused(f'{name}: {value} is out of range')
    return value


class Stopped(Exception):
    """What ComfyUI raises in a node whose user has stopped the workflow."""


class Host:
    """ComfyUI's modules, as far as nodes use them.

    Args:
        folder: Of upscale models.

    Attributes:
        reports: (done, all) of the bar, in order.
        freed: Bytes that were asked for.
        stop_after: Looks for a stop until it is stopped; None: never.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.reports, self.freed = folder, [], []
        self.stop_after: int | None = None

    def modules(self) -> dict[str, ModuleType]:
        """What nodes can import."""

        class ProgressBar:
            def __init__(bar, total: int) -> None:
                bar.total = total

            def update_absolute(bar, value: int, total: int | None = None) -> None:
                self.reports.append((value, total))

        def check() -> None:
            if self.stop_after is not None:
                self.stop_after -= 1
                if self.stop_after < 0:
                    raise Stopped

        def path_of(kind: str, name: str) -> str | None:
            path = self.folder / name
            return str(path) if path.is_file() else None

        management = {
            'get_torch_device': lambda: 'cpu',
            'free_memory': lambda needed, device: self.freed.append(needed),
            'throw_exception_if_processing_interrupted': check,
        }
        paths = {
            'get_filename_list': lambda kind: sorted(p.name for p in self.folder.iterdir()),
            'get_full_path': path_of,
        }
        return {
            'folder_paths': SimpleNamespace(**paths),
            'comfy': ModuleType('comfy'),
            'comfy.utils': SimpleNamespace(ProgressBar=ProgressBar),
            'comfy.model_management': SimpleNamespace(**management),
        }

    def install(self, monkeypatch: Any) -> None:
        """Let them be imported, for one test."""
        for name, module in self.modules().items():
            monkeypatch.setitem(sys.modules, name, module)
