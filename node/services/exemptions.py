"""Say for each requirement of a matter whether a subject must bring paper, and by which route not.

Spec page: docs/reference/decision.md, "Exemption routes".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from node.context import Node
from node.errors import MatterUnknown
from node.services.requests import ExemptionRequest
from node.services.verifying import moment_of, subject_of, with_local_acts
from verifier.catalog import Matter
from verifier.exemptions import RequirementPlan, plan_all


@dataclass(frozen=True, slots=True)
class ExemptionPlan:
    """The plan of one matter for one subject."""

    matter: Matter
    requirements: tuple[RequirementPlan, ...]

    @property
    def exempted(self) -> int:
        return sum(plan.outcome == "exempt" for plan in self.requirements)


def matter_of(node: Node, code: str) -> Matter:
    """Return a live matter.

    Raises:
        MatterUnknown: no approved entry on chain has this code.
    """
    matter = node.catalog.matter(code)
    if matter is None:
        raise MatterUnknown(
            "no approved matter has this code", hint="list the matters with `deltaseal catalog list matter`"
        )
    return matter


def plan(node: Node, request: ExemptionRequest) -> ExemptionPlan:
    """Plan every requirement of the matter for the subject.

    Raises:
        MatterUnknown, SubjectInvalid.
    """
    matter = matter_of(node, request.matter_code)
    subject = subject_of(node, request.subject)
    found = plan_all(
        matter.requirements, subject, moment=moment_of(node), worsened=partial(with_local_acts, node)
    )
    return ExemptionPlan(matter, tuple(found))
