"""The converted model is the trained one: shown on this workstation, before a byte is shipped."""
