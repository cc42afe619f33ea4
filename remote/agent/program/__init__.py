"""What people's own programs run on a board, in ``jetlane_runtime.py``; the agent's file goes without it"""
