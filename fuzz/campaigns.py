"""All campaigns, by name."""

from . import (
    cancellation,
    controls,
    faults,
    fulldisk,
    histories,
    kills,
    machine,
    powerloss,
    simulation,
)
from .case import Campaign
from .damage import campaign as damage
from .damage import hostile

CAMPAIGNS: dict[str, Campaign] = {
    campaign.name: campaign
    for campaign in (
        powerloss.CAMPAIGN,
        kills.CAMPAIGN,
        faults.CAMPAIGN,
        fulldisk.CAMPAIGN,
        damage.CAMPAIGN,
        hostile.CAMPAIGN,
        simulation.CAMPAIGN,
        histories.CAMPAIGN,
        cancellation.CAMPAIGN,
        machine.CAMPAIGN,
        controls.CAMPAIGN,
    )
}
