"""What runs when: a file for each Prefect flow; servers, Prefect's view of a fleet, its plugin and the command line beside them."""
