"""Networks on the Hugging Face hub, and the model cards that go with them."""
