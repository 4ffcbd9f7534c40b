"""Decisions: from a request and the facts to a plan, or to the reason why not.

Every refusal happens here, before the first byte. Pure: equal input gives equal plans.
"""

from nimctl.core.decide.build import plan_build
from nimctl.core.decide.container import (
    image_of,
    own_port,
    plan_container,
    plan_image,
    runs_in_container,
)
from nimctl.core.decide.embedded import plan_embedded
from nimctl.core.decide.fetch import fetch_step, plan_opening, plan_pull
from nimctl.core.decide.prebuilt import usable
from nimctl.core.decide.reach import reachable
from nimctl.core.decide.replicas import ROUTER_IMAGE, routes_in_container
from nimctl.core.decide.serving import USUAL_PORT, check_fit, server_name
from nimctl.core.decide.target import Surroundings, Target, recipe_for
from nimctl.core.decide.trtllm import divided, for_engine
from nimctl.core.decide.update import keeping_profile, place_of, plan_update, updated_request

__all__ = [
    "ROUTER_IMAGE",
    "USUAL_PORT",
    "Surroundings",
    "Target",
    "check_fit",
    "divided",
    "fetch_step",
    "for_engine",
    "image_of",
    "keeping_profile",
    "own_port",
    "place_of",
    "plan_build",
    "plan_container",
    "plan_embedded",
    "plan_image",
    "plan_opening",
    "plan_pull",
    "plan_update",
    "reachable",
    "recipe_for",
    "routes_in_container",
    "runs_in_container",
    "server_name",
    "updated_request",
    "usable",
]
