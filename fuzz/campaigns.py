"""All campaigns, by name."""

from . import kills, powerloss, simulation
from .case import Campaign

CAMPAIGNS: dict[str, Campaign] = {
    campaign.name: campaign
    for campaign in (powerloss.CAMPAIGN, kills.CAMPAIGN, simulation.CAMPAIGN)
}
