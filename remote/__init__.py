"""Everything beyond this machine: releases as they travel, SSH, one device, a fleet, and what runs on a board."""
