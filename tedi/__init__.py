"""tedi: faces from words, in StyleGAN's W space."""
