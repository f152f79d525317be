"""All campaigns, by name."""

from . import controls, faults, kills, powerloss, simulation
from .case import Campaign

CAMPAIGNS: dict[str, Campaign] = {
    campaign.name: campaign
    for campaign in (
        powerloss.CAMPAIGN,
        kills.CAMPAIGN,
        faults.CAMPAIGN,
        simulation.CAMPAIGN,
        controls.CAMPAIGN,
    )
}
