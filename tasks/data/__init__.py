"""Data sets: labelled images, TFRecords and synthetic shapes, checked, as the OD API reads them. No tensorflow."""
