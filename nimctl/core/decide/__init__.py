"""Decisions: from a request and the facts to a plan, or to the reason why not.

Every refusal happens here, before the first byte. Pure: equal input gives equal plans.
"""

from nimctl.core.decide.build import plan_build
from nimctl.core.decide.embedded import plan_serve, server_name
from nimctl.core.decide.fetch import fetch_step, plan_opening, plan_pull
from nimctl.core.decide.target import Surroundings, Target, recipe_for

__all__ = [
    "Surroundings",
    "Target",
    "fetch_step",
    "plan_build",
    "plan_opening",
    "plan_pull",
    "plan_serve",
    "recipe_for",
    "server_name",
]
