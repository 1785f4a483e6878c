"""All operations of `SessionRepository` on a storage: what is promised holds whichever engine is below."""

from bamboo_sessions.testing.conformance.repository.asking import AskingConformance
from bamboo_sessions.testing.conformance.repository.authoring import AuthoringConformance
from bamboo_sessions.testing.conformance.repository.base import RepositoryCase
from bamboo_sessions.testing.conformance.repository.call_groups import CallGroupsConformance
from bamboo_sessions.testing.conformance.repository.changing import ChangingConformance
from bamboo_sessions.testing.conformance.repository.fencing import FencingConformance
from bamboo_sessions.testing.conformance.repository.following import FollowingConformance
from bamboo_sessions.testing.conformance.repository.leasing import LeasingConformance
from bamboo_sessions.testing.conformance.repository.lifecycle import LifecycleConformance
from bamboo_sessions.testing.conformance.repository.loading import LoadingConformance
from bamboo_sessions.testing.conformance.repository.reading import PagesConformance
from bamboo_sessions.testing.conformance.repository.rewriting import RewritingConformance
from bamboo_sessions.testing.conformance.repository.saving import SavingConformance
from bamboo_sessions.testing.conformance.repository.searching import SearchingConformance
from bamboo_sessions.testing.conformance.repository.tenants import TenantsConformance

__all__ = [
    "AskingConformance",
    "AuthoringConformance",
    "CallGroupsConformance",
    "ChangingConformance",
    "FencingConformance",
    "FollowingConformance",
    "LeasingConformance",
    "LifecycleConformance",
    "LoadingConformance",
    "PagesConformance",
    "RepositoryCase",
    "RepositoryConformance",
    "RewritingConformance",
    "SavingConformance",
    "SearchingConformance",
    "TenantsConformance",
]


class RepositoryConformance(
    LoadingConformance,
    SavingConformance,
    CallGroupsConformance,
    ChangingConformance,
    AuthoringConformance,
    AskingConformance,
    RewritingConformance,
    PagesConformance,
    SearchingConformance,
    LifecycleConformance,
    FollowingConformance,
    LeasingConformance,
    FencingConformance,
    TenantsConformance,
):
    """All operations of the repository together."""
