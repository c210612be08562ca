"""Input rows, their variables, and the prompts that are rendered from them."""
