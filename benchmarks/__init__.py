"""What the speed claims rest on: ours and its peers, side by side in one run."""
