"""A network as a repository on the Hugging Face hub, or as a folder of the same files."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import ModelCard, ModelHubMixin
from huggingface_hub.constants import CONFIG_NAME

from liif_arch.errors import UserError
from liif_arch.hub.card import Card
from liif_arch.training.checkpoints import misfits, save_file, some
from liif_arch.weights import FOLDER_FILE
from liif_arch.weights.networks import build

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
        UserError: No option describes it, or another network.
    """

    def __init__(
        self, net: 'LatentNetwork', network_g: dict | None = None, card: Card | None = None
    ) -> None:
        network_g = network_g or net.network_g
        if network_g is None:
            raise UserError(
                'the network was built with what no option says, such as a module as its encoder; '
                'pass the options that build it.',
                key='network_g',
            )
        problems = misfits(build(network_g, 'save_pretrained'), net.state_dict())
        if problems:
            raise UserError(
                f'found options of another network than this one: {some(problems)}.',
                key='network_g',
            )
        self.net, self.network_g, self.card = net, network_g, card or Card()

    def _save_pretrained(self, save_directory: Path) -> None:
        """Write the weights, the option, and the card's picture."""
        self.card.text(self.net, self.network_g)  # what is wrong with it is said first
        self.card.draw(self.net, save_directory)
        content = {'params': self.net.state_dict(), 'network_g': self.network_g}
        save_file(content, save_directory / FOLDER_FILE)
        text = json.dumps(self.network_g, indent=2)
        (save_directory / CONFIG_NAME).write_text(f'{text}\n', encoding='utf-8')

    def generate_model_card(self, **options: Any) -> ModelCard:
        """The repository's README.md."""
        return ModelCard(self.card.text(self.net, self.network_g))
