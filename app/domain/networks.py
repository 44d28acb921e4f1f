"""Name a visitor's network so that it can be counted and not be read: what is kept cannot name it."""

from datetime import datetime
from typing import Final, NamedTuple

from app.domain.code import Code
from app.domain.token import Signer


class Networks(NamedTuple):
    """Name one network twice, by hashes that cannot be compared with each other; '' is not bounded.

    Shapes: `at_code` for the new places of one code in one minute; `at_accounts` for the adds that the network takes of
    each account of the workspace in one hour.
    """

    at_code: str = ""
    at_accounts: str = ""


NO_NETWORKS: Final = Networks()


def blurred(signer: Signer, network: str, code: Code, now: datetime) -> Networks:
    """Blur a network for a scan of one code, so that it cannot be compared with what another while kept.

    Cost: one hash, two where an account of the code has a share for each network; none where the code has no bound.
    """
    if not network or not code.new_seats_per_minute:
        return NO_NETWORKS
    minute = int(now.timestamp()) // 60
    at_code = signer.blur(f"{network} {code.id} {minute}")
    if not code.shared:
        return Networks(at_code)
    # The same for all codes of the workspace, since many may offer one account.
    return Networks(at_code, signer.blur(f"{network} {code.workspace_id} {minute // 60}"))
