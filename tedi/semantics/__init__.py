"""What directions in W, W+ and S mean: fitting them, parting them, ranking channels."""
