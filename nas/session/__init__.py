"""The loop: from a plan through candidates and evaluations to the leaderboard."""
