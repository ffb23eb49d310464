"""What a person may give besides text: how each kind of input is read and made ready."""
