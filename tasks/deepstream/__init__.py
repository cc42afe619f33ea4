"""The release's ``deepstream/`` folder: for people whose application is NVIDIA's DeepStream."""
