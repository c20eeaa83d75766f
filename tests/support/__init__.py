"""What the tests are made with: servers, remotes, doubles, clocks, processes. It knows nothing of the demo."""
