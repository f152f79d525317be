"""All campaigns, by name."""

from . import kills, powerloss
from .case import Campaign
from .damage import campaign as damage
from .damage import hostile

CAMPAIGNS: dict[str, Campaign] = {
    campaign.name: campaign
    for campaign in (powerloss.CAMPAIGN, kills.CAMPAIGN, damage.CAMPAIGN, hostile.CAMPAIGN)
}
