"""The jetlane command: its commands, and what it shows in a terminal."""
