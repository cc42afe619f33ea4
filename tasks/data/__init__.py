"""Data sets: the synthetic shapes and a user's own TFRecords, checked, as the OD API reads them. No tensorflow."""
