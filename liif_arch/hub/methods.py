"""What networks can do with the Hugging Face hub, under the names that its users know."""

import inspect
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from liif_arch.errors import UserError

if TYPE_CHECKING:
    from typing_extensions import Self


class HubMethods:
    """`from_pretrained`, `save_pretrained` and `push_to_hub` for networks, as the hub's own mixin
    has them (`huggingface_hub.ModelHubMixin`); its package is needed when they are called.

    Attributes:
        network_g: The option that builds this network; None where it was built with parts that no
            option describes, such as a module as its encoder.
    """

    network_g: dict | None

    def __new__(cls, *args: Any, **options: Any) -> 'Self':
        """Keep what the network is built with; copies and pickles are built with nothing."""
        network = super().__new__(cls)
        object.__setattr__(network, 'network_g', _option(cls, args, options))
        return network

    @classmethod
    def from_pretrained(cls, name: str | Path, device: str = 'cpu', **options: Any) -> 'Self':
        """Rebuild a network from the hub, or from a folder that `save_pretrained` wrote.

        Args:
            name: `owner/name` of a repository, or a folder.
            device: Where to put the network.
            options: Of `huggingface_hub.hf_hub_download`: revision, token, cache_dir,
                local_files_only, force_download.

        Returns:
            The network in evaluation mode.

        Raises:
            UserError: There are no such weights, they cannot be had, or are another network's.
        """
        from liif_arch.hub.files import hub_file, require_name
        from liif_arch.weights import FOLDER_FILE, HUB
        from liif_arch.weights.networks import load_network

        if Path(name).is_dir():
            path = Path(name, FOLDER_FILE)
        else:
            require_name(str(name))
            path = hub_file(f'{HUB}{name}', **options)
        net = load_network(path, device)
        if not isinstance(net, cls):
            raise UserError(
                f'{name}: found a {type(net).__name__}; needed a {cls.__name__} '
                '(load_network takes any).'
            )
        return net

    def save_pretrained(
        self,
        folder: str | Path,
        *,
        network_g: dict | None = None,
        metrics: str | Path | None = None,
        picture: str | Path | None = None,
        license: str | None = None,
        **options: Any,
    ) -> str | None:
        """Write model.safetensors, config.json and a model card, README.md, into a folder.

        A README.md that is there already is kept.

        Args:
            folder: Is made where it is not there.
            network_g: The option that builds this network; None: as it was built.
            metrics: A metrics.json of `basicsr test` or of a training, for the card's figures.
            picture: An image, of which the card shows a detail enlarged.
            license: Of the weights, by its identifier on the hub.
            options: Of `huggingface_hub.ModelHubMixin.save_pretrained`: repo_id, push_to_hub, ...

        Returns:
            Where they were uploaded, where `push_to_hub` is true.

        Raises:
            UserError: No option describes this network, or something cannot be read or written.
        """
        from liif_arch.hub.files import explained

        name = options.get('repo_id') or Path(folder).resolve().name
        with explained(str(folder)):
            network = _on_hub(self, name, network_g, metrics, picture, license)
            return network.save_pretrained(folder, **options)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        network_g: dict | None = None,
        metrics: str | Path | None = None,
        picture: str | Path | None = None,
        license: str | None = None,
        **options: Any,
    ) -> str:
        """Upload what `save_pretrained` writes, as one commit of a repository, which is made where
        it is not there.

        Args:
            repo_id: `owner/name`.
            network_g: See `save_pretrained`, as for metrics, picture and license.
            options: Of `huggingface_hub.ModelHubMixin.push_to_hub`: private, token, branch,
                create_pr, commit_message, ignore_patterns ('README.md' keeps the card that is
                there), ...

        Returns:
            The address of the commit.

        Raises:
            UserError: As `save_pretrained`; or the hub refuses it.
        """
        from liif_arch.hub.files import explained, require_name

        require_name(repo_id)
        with explained(repo_id):
            network = _on_hub(self, repo_id, network_g, metrics, picture, license)
            return network.push_to_hub(repo_id, **options)


def _on_hub(
    net: Any,
    name: str,
    network_g: dict | None,
    metrics: str | Path | None,
    picture: str | Path | None,
    license: str | None,
) -> Any:
    """The network as the hub's mixin knows it."""
    from liif_arch.hub.card import Card
    from liif_arch.hub.network import HubNetwork

    metrics = None if metrics is None else Path(metrics)
    picture = None if picture is None else Path(picture)
    return HubNetwork(net, network_g, Card(name, metrics, picture, license))


def _option(cls: type, args: Sequence, options: Mapping) -> dict | None:
    """The option `network_g` that means the same as a call of a class; None where none does."""
    try:
        call = inspect.signature(cls.__init__).bind(None, *args, **options)
        given = {}
        for name, value in list(call.arguments.items())[1:]:  # after self
            kind = call.signature.parameters[name].kind
            if kind is inspect.Parameter.VAR_POSITIONAL:
                return None
            given.update(value if kind is inspect.Parameter.VAR_KEYWORD else {name: value})
        return json.loads(json.dumps({'type': cls.__name__, **given}))
    except (TypeError, ValueError):  # a call that fails anyhow, or a part that is no option
        return None
