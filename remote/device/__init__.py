"""One device with its agent: the client of it, delivery of a release, enrolment, and what devices report."""
