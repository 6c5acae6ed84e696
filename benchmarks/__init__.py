"""Where the README's figures come from: each module measures the running system, `run` measures everything."""
