"""The contenders' own side: each module sets one of them up as its documentation would, and can enqueue a letter."""
