"""Pure algorithms: arrays in, arrays out. No recipe, no trainer, no engine; numpy, and torch where gradients flow."""
