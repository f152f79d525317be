"""All campaigns, by name."""

from . import faults, kills, powerloss, simulation
from .case import Campaign

CAMPAIGNS: dict[str, Campaign] = {
    campaign.name: campaign
    for campaign in (
        powerloss.CAMPAIGN,
        kills.CAMPAIGN,
        faults.CAMPAIGN,
        simulation.CAMPAIGN,
    )
}
