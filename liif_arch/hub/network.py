"""A network as a repository on the Hugging Face hub, or as a folder of the same files."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import ModelCard, ModelHubMixin
from huggingface_hub.constants import CONFIG_NAME

from liif_arch.errors import UserError
from liif_arch.hub.card import Card
from liif_arch.hub.files import hub_file
from liif_arch.weights import FOLDER_FILE, HUB

if TYPE_CHECKING:
    from liif_arch.archs.latent_network import LatentNetwork


class HubNetwork(ModelHubMixin):
    """A network as the hub's own mixin saves, uploads and downloads models.

    Networks offer the mixin's methods under the same names (`LatentNetwork.save_pretrained`, ...).
    They do not inherit them, because importing a network would then need the hub's package.

    Args:
        net: The network.
        network_g: The option that builds it; None: as it was built.
        card: What its model card shows.

    Raises:
        UserError: It was built from parts that no option describes.
    """

    def __init__(
        self, net: 'LatentNetwork', network_g: dict | None = None, card: Card | None = None
    ) -> None:
        network_g = network_g or net.network_g
        if network_g is None:
            raise UserError(
                'the network was built with a module as its encoder, which no option describes; '
                'pass the options that build it.',
                key='network_g',
            )
        self.net, self.network_g, self.card = net, network_g, card or Card()

    def _save_pretrained(self, save_directory: Path) -> None:
        """Write the weights, the option, and the card's picture."""
        from liif_arch.training.checkpoints import save_file

        content = {'params': self.net.state_dict(), 'network_g': self.network_g}
        save_file(content, save_directory / FOLDER_FILE)
        text = json.dumps(self.network_g, indent=2)
        (save_directory / CONFIG_NAME).write_text(f'{text}\n', encoding='utf-8')
        self.card.draw(self.net, save_directory)

    def generate_model_card(self, **options: Any) -> ModelCard:
        """The repository's README.md."""
        return ModelCard(self.card.text(self.net, self.network_g))

    @classmethod
    def _from_pretrained(
        cls, *, model_id: str, device: str = 'cpu', **options: Any
    ) -> 'HubNetwork':
        """Rebuild a network from a folder or from the hub."""
        from liif_arch.weights.networks import load_network

        is_folder = Path(model_id).is_dir()
        weights = Path(model_id) if is_folder else hub_file(f'{HUB}{model_id}', **options)
        return cls(load_network(weights, device))
