"""Break what huoma stands on while visitors come, and prove the promises of design §3: `make chaos`."""
