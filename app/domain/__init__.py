"""Hold every rule of live codes (活码), pure: standard library only, no clock, no I/O."""
